//! The client's side of TLS, with the authorities of the system.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::listen::AnyStream;
use crate::trust::{server_verifier, trusted_here};

/// Speaks TLS to a server that can prove that it is `host`. The authorities are those of the system; the variables
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name others, as they do for OpenSSL; also the certificate
/// of the server itself.
///
/// # Errors
/// When the server has no such certificate, or does not speak TLS.
pub async fn connect_tls(stream: AnyStream, host: &str) -> io::Result<AnyStream> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(connector()?.connect(name, stream).await?))
}

/// Reads the authorities once: thousands of workers may be dialled for.
fn connector() -> io::Result<TlsConnector> {
    static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
    if let Some(known) = CONNECTOR.get() {
        return Ok(known.clone());
    }
    let verifier = server_verifier(trusted_here()).map_err(|_| {
        io::Error::other(
            "no certificate authority is known here; install ca-certificates, or name a file in SSL_CERT_FILE",
        )
    })?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(CONNECTOR.get_or_init(|| TlsConnector::from(Arc::new(config))).clone())
}
