//! Whom one believes: those of the named authorities, and one whose own certificate is named. For servers, and for clients.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Believes servers whose certificate one of these vouches for, or is one of these: what `openssl req -x509` makes is its
/// own authority, which a verifier of chains refuses to see at a server. Name and time are looked at in either case.
/// Certificates that can't be read are left out: systems have odd ones that nobody uses.
///
/// # Errors
/// When no certificate can be used.
pub fn server_verifier(
    named: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(named.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    Ok(Arc::new(Verifier { chains, named }))
}

/// The certificates that this system trusts; the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
pub fn trusted_here() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// Whether a server may show this certificate as `host`: one of `named` vouches for it, or is it.
pub fn may_be(named: Vec<CertificateDer<'static>>, shown: &[u8], host: &str) -> bool {
    let (shown, host) = (CertificateDer::from(shown), ServerName::try_from(host));
    let (Ok(verifier), Ok(host)) = (server_verifier(named), host) else { return false };
    verifier.verify_server_cert(&shown, &[], &host, &[], UnixTime::now()).is_ok()
}

/// The same for clients, which must show a certificate.
///
/// # Errors
/// When no certificate can be used.
pub fn client_verifier(
    named: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(named.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    Ok(Arc::new(OfClients { chains, named }))
}

#[derive(Debug)]
struct OfClients {
    chains: Arc<dyn ClientCertVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ClientCertVerifier for OfClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.chains.verify_client_cert(end_entity, intermediates, now) {
            // Time is looked at before this.
            Err(error) if is_authority(&error) && self.named.contains(end_entity) => {
                Ok(ClientCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged =
            self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            // Time is looked at before this, the name after it.
            Err(error) if is_authority(&error) && self.named.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Whether nothing is wrong but that the certificate shown is an authority's. The library has no name of its own for it.
fn is_authority(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string() == "CaUsedAsEndEntity")
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    fn authority(name: &str, from: i32, to: i32) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    fn judge(named: &Certificate, shown: &Certificate, name: &str) -> Result<(), String> {
        let verifier = server_verifier(vec![named.der().clone()]).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let judged = verifier.verify_server_cert(shown.der(), &[], &name, &[], UnixTime::now());
        judged.map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_authority_that_is_named_may_be_the_server_itself() {
        let own = authority("router.example", 2020, 4000);
        judge(&own, &own, "router.example").unwrap();
        let error = judge(&own, &own, "other.example").unwrap_err();
        assert!(error.contains("not valid for name"), "{error}");
        // Another of the same name and make, which nobody named.
        let stranger = authority("router.example", 2020, 4000);
        judge(&own, &stranger, "router.example").unwrap_err();
        let old = authority("router.example", 2020, 2021);
        let error = judge(&old, &old, "router.example").unwrap_err();
        assert!(error.contains("expired"), "{error}");
    }

    #[test]
    fn an_authority_that_is_named_may_be_the_client_itself() {
        let judge = |named: &Certificate, shown: &Certificate| {
            let verifier = client_verifier(vec![named.der().clone()]).unwrap();
            let judged = verifier.verify_client_cert(shown.der(), &[], UnixTime::now());
            judged.map(|_| ()).map_err(|error| error.to_string())
        };
        let own = authority("master.example", 2020, 4000);
        judge(&own, &own).unwrap();
        judge(&own, &authority("master.example", 2020, 4000)).unwrap_err();
        let old = authority("master.example", 2020, 2021);
        let error = judge(&old, &old).unwrap_err();
        assert!(error.contains("expired"), "{error}");
    }
}
