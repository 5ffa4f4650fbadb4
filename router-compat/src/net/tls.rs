//! TLS: own certificate authorities, certificates of servers and clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A PEM file: the certificate first, then those that vouch for it.
    pub certificate: PathBuf,
    /// A PEM file with the key.
    pub key: PathBuf,
}

/// A client's side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// A PEM file of certificate authorities; `None` trusts those of the system.
    pub ca: Option<PathBuf>,
    /// Who the client is, for routers that ask.
    pub identity: Option<Identity>,
}

/// A router's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Who the router is.
    pub identity: Identity,
    /// A PEM file of certificate authorities; with it every client needs a certificate of one of them.
    pub client_ca: Option<PathBuf>,
}

/// TLS can't be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read or is no PEM file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// No certificate in it.
    #[error("{0}: there is no certificate in it")]
    NoCertificate(PathBuf),
    /// The system's authorities can't be read.
    #[error("this system has no certificate authorities; name a file of them")]
    NoSystemRoots,
    /// Certificates or key can't be used.
    #[error("the certificates can't be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The authorities for servers can't be used.
    #[error("the authorities can't be used: {0}")]
    Authorities(rustls::server::VerifierBuilderError),
    /// The authorities for clients can't be used.
    #[error("the authorities for clients can't be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them can't be read or used.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let trusted = match &self.ca {
            Some(path) => authorities(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let verifier = muster_net::server_verifier(trusted).map_err(|error| match &self.ca {
            Some(_) => TlsError::Authorities(error),
            None => TlsError::NoSystemRoots,
        })?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match &self.identity {
            Some(identity) => {
                builder.with_client_auth_cert(certificates(&identity.certificate)?, identity.key()?)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them can't be read or used.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            Some(path) => builder.with_client_cert_verifier(muster_net::client_verifier(authorities(path)?)?),
            None => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.identity.certificate)?;
        Ok(Arc::new(builder.with_single_cert(chain, self.identity.key()?)?))
    }
}

impl Identity {
    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = &self.key;
        PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::File { path: path.clone(), source })
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let told = |source| TlsError::File { path: path.to_owned(), source };
    let chain =
        CertificateDer::pem_file_iter(path).map_err(told)?.collect::<Result<Vec<_>, _>>().map_err(told)?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

/// What somebody names is all good, or refused; the system may have odd ones.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let named = certificates(path)?;
    for certificate in &named {
        RootCertStore::empty().add(certificate.clone())?;
    }
    Ok(named)
}
