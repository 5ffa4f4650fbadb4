//! The server's side of TLS, from PEM files.

use std::path::Path;
use std::sync::Arc;

use muster_core::strports::TlsFiles;
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

/// What a port with TLS works with.
pub(crate) struct Server {
    pub(crate) config: ServerConfig,
    /// Why clients will refuse the certificate.
    pub(crate) warning: Option<String>,
}

/// Reads the files of a port. The error says which one is wrong, and how.
pub(crate) fn server(files: &TlsFiles, base: &Path) -> Result<Server, String> {
    let path = base.join(&files.certificate);
    let mut chain = certificates(&path)?;
    let age = chain.first().and_then(|certificate| out_of_date(certificate, UnixTime::now()));
    let warning = age.map(|age| {
        format!(
            "the certificate {} {age}: clients that look at it refuse to come in; put a good one there and restart",
            path.display()
        )
    });
    if let Some(rest) = &files.chain {
        chain.extend(certificates(&base.join(rest))?);
    }
    let path = base.join(&files.key);
    let key = PrivateKeyDer::from_pem_file(&path)
        .map_err(|error| format!("the private key {} can't be used: {error}", path.display()))?;
    let unusable = |error: rustls::Error| format!("TLS can't be spoken: {error}");
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| {
        format!(
            "the certificate {} and the key {} don't go together: {error}",
            files.certificate.display(),
            path.display()
        )
    })?;
    Ok(Server { config, warning })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What is wrong with a certificate's time. Whoever verifies one looks at that first, so that it doesn't matter here who
/// signed it.
fn out_of_date(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).ok()?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
    let anybody = ServerName::try_from("localhost").ok()?;
    match verifier.verify_server_cert(certificate, &[], &anybody, &[], now) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after })) => {
            Some(format!("ran out {} ago", span(time, not_after)))
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before })) => {
            Some(format!("is good only in {}", span(not_before, time)))
        }
        _ => None,
    }
}

fn span(later: UnixTime, earlier: UnixTime) -> String {
    let hours = later.as_secs().saturating_sub(earlier.as_secs()) / (60 * 60);
    match hours / 24 {
        0 | 1 => format!("{hours} hours"),
        days => format!("{days} days"),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("the certificate {} can't be read: {error}", path.display());
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .map_err(|error| failed(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&error))?;
    if found.is_empty() { Err(failed(&"there is none in it")) } else { Ok(found) }
}
