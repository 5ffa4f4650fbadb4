//! Encrypted connections to MySQL and MariaDB.

use mysql_async::{ClientIdentity, IoError, Opts, OptsBuilder, SslOpts};

use crate::url::{Tls, TlsMode};

/// What the driver is told.
pub(super) fn options(tls: &Tls) -> SslOpts {
    let mut options = SslOpts::default()
        .with_danger_accept_invalid_certs(tls.mode == TlsMode::Require && tls.root.is_none())
        .with_danger_skip_domain_validation(tls.mode != TlsMode::VerifyFull);
    if let Some(root) = &tls.root {
        options = options.with_root_certs(vec![root.clone().into()]).with_disable_built_in_roots(true);
    }
    if let Some((cert, key)) = &tls.identity {
        options =
            options.with_client_identity(Some(ClientIdentity::new(cert.clone().into(), key.clone().into())));
    }
    options
}

/// Whether the files are there: the driver would only say that something is missing.
pub(super) fn check(tls: &Tls) -> Result<(), String> {
    let (cert, key) = tls.identity.as_ref().map(|(cert, key)| (cert, key)).unzip();
    for file in [tls.root.as_ref(), cert, key].into_iter().flatten() {
        std::fs::File::open(file).map_err(|error| format!("TLS: {}: {error}", file.display()))?;
    }
    Ok(())
}

/// The name that a server's certificate is for, when that was all that was wrong with it.
pub(super) fn name_of(error: &mysql_async::Error) -> Option<String> {
    let mysql_async::Error::Io(IoError::Io(error)) = error else { return None };
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForNameContext {
            presented,
            ..
        }) => presented
            .iter()
            .find_map(|name| Some(name.strip_prefix("DnsName(\"")?.strip_suffix("\")")?.to_owned())),
        _ => None,
    }
}

/// Whether a server showed a certificate that is an authority's. The driver makes its own verifier, so that one which is
/// named can't be taken, as it is elsewhere.
pub(super) fn is_authority(error: &mysql_async::Error) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

/// The same options, but for a server of this name. The driver means to let the name pass where only the authority is asked
/// for, and can't with the errors that today's TLS reports. The certificate is checked all the same.
pub(super) fn expecting(opts: &Opts, tls: &Tls, name: String) -> Opts {
    let named = options(tls).with_danger_tls_hostname_override(Some(name));
    OptsBuilder::from_opts(opts.clone()).ssl_opts(named).into()
}
