//! The server's side of TLS, from PEM files.

use std::path::Path;
use std::sync::Arc;

use muster_core::strports::TlsFiles;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Reads the files of a port. The error says which one is wrong, and how.
pub(crate) fn config(files: &TlsFiles, base: &Path) -> Result<ServerConfig, String> {
    let mut chain = certificates(&base.join(&files.certificate))?;
    if let Some(rest) = &files.chain {
        chain.extend(certificates(&base.join(rest))?);
    }
    let path = base.join(&files.key);
    let key = PrivateKeyDer::from_pem_file(&path)
        .map_err(|error| format!("the private key {} can't be used: {error}", path.display()))?;
    let unusable = |error: rustls::Error| format!("TLS can't be spoken: {error}");
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| {
        format!(
            "the certificate {} and the key {} don't go together: {error}",
            files.certificate.display(),
            path.display()
        )
    })
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
