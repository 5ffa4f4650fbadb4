//! The mail server of a configuration, and what is said to it.

use std::time::Duration;

use lettre::message::Message;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Tls, TlsParameters};
use lettre::transport::smtp::{Error, extension::ClientId};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use muster_config::snapshot::MailConfig;

/// How long a mail server may take for each answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why a server did not take a mail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("{0}")]
    Smtp(#[from] Error),
    #[error(
        "its certificate is that of an authority, and none that is trusted here: name its file in SSL_CERT_FILE, or give \
         the server one that an authority has signed"
    )]
    Untrusted,
}

impl ServerError {
    /// Whether the server has said that it never takes this mail.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, ServerError::Smtp(error) if error.is_permanent())
    }
}

/// Hands a mail to the server. Over TLS it must show a certificate that the system trusts, or that `SSL_CERT_FILE` names.
pub(crate) async fn send(
    config: &MailConfig,
    credentials: Option<Credentials>,
    message: Message,
) -> Result<(), ServerError> {
    match transport(config, credentials.clone())?.send(message.clone()).await {
        Err(error) if is_authority(&error) => {
            let trusted =
                |shown: &[u8]| muster_net::may_be(muster_net::trusted_here(), shown, &config.relay_host);
            send_to_named(config, credentials, &message, trusted).await
        }
        sent => Ok(sent.map(drop)?),
    }
}

fn transport(
    config: &MailConfig,
    credentials: Option<Credentials>,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
    let relay = config.relay_host.as_str();
    let parameters = || TlsParameters::new(relay.to_owned());
    let tls = match (config.use_smtps, config.use_tls) {
        (true, _) => Tls::Wrapper(parameters()?),
        (false, true) => Tls::Required(parameters()?),
        (false, false) => Tls::None,
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(relay);
    let builder = builder.port(config.smtp_port).tls(tls).timeout(Some(TIMEOUT));
    Ok(match credentials {
        Some(credentials) => builder.credentials(credentials).build(),
        None => builder.build(),
    })
}

/// Whether nothing is wrong but that the server's certificate is an authority's, as `openssl req -x509` makes it: the
/// library's verifier takes such a one from no server.
fn is_authority(error: &Error) -> bool {
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

/// The same for a server whose own certificate is named. The library's verifier is told to let it pass, and what was shown is
/// looked at before anything is said but a greeting. (That the server has the certificate's key the handshake has proved.)
async fn send_to_named(
    config: &MailConfig,
    credentials: Option<Credentials>,
    message: &Message,
    is_trusted: impl Fn(&[u8]) -> bool,
) -> Result<(), ServerError> {
    let relay = config.relay_host.as_str();
    let parameters = TlsParameters::builder(relay.to_owned()).dangerous_accept_invalid_certs(true).build()?;
    let hello = ClientId::default();
    let at_once = config.use_smtps.then(|| parameters.clone());
    let server = (relay, config.smtp_port);
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(server, Some(TIMEOUT), &hello, at_once, None).await?;
    if !config.use_smtps {
        connection.starttls(parameters, &hello).await?;
    }
    if !is_trusted(&connection.peer_certificate()?) {
        connection.abort().await;
        return Err(ServerError::Untrusted);
    }
    if let Some(credentials) = credentials {
        connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
    }
    connection.send(message.envelope(), &message.formatted()).await?;
    // The mail is taken; how the connection ends changes nothing.
    let _ = connection.quit().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// What `openssl req -x509` makes.
    fn own_authority() -> (CertificateDer<'static>, TlsAcceptor) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
        (certificate, TlsAcceptor::from(Arc::new(config)))
    }

    /// Converses until STARTTLS or the end; answers what it was told.
    async fn converse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), greets: bool) -> Vec<String> {
        let mut stream = BufReader::new(stream);
        let (mut said, mut in_body) = (Vec::new(), false);
        if greets {
            stream.write_all(b"220 localhost\r\n").await.unwrap();
        }
        loop {
            stream.flush().await.unwrap();
            let mut line = String::new();
            // A client that doesn't trust this server goes away without a word.
            if !stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                return said;
            }
            let line = line.trim_end().to_owned();
            let answer = match line.as_str() {
                "." => "250 taken",
                _ if in_body => continue,
                "DATA" => "354 go on",
                "STARTTLS" => "220 go ahead",
                "QUIT" => "221 bye",
                line if line.starts_with("EHLO") => "250-localhost\r\n250-AUTH PLAIN\r\n250 STARTTLS",
                line if line.starts_with("AUTH") => "235 welcome",
                _ => "250 ok",
            };
            in_body = line == "DATA";
            let ends = matches!(line.as_str(), "STARTTLS" | "QUIT");
            said.push(line);
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            if ends {
                stream.flush().await.unwrap();
                return said;
            }
        }
    }

    /// What a server hears over TLS, and what became of the mail.
    async fn mailed(smtps: bool, is_trusted: bool) -> (Vec<String>, Result<(), ServerError>) {
        let (certificate, acceptor) = own_authority();
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let config = MailConfig {
            from_address: "ci@example.org".into(),
            relay_host: "localhost".into(),
            smtp_port: listener.local_addr().unwrap().port(),
            use_tls: !smtps,
            use_smtps: smtps,
            smtp_user: None,
            smtp_password: None,
            domain: None,
            extra_headers: Default::default(),
            dump_mails_to_log: false,
        };
        let message = Message::builder().from("ci@example.org".parse().unwrap());
        let message = message.to("ann@example.org".parse().unwrap()).body("It is gone.".to_owned()).unwrap();
        let named = if is_trusted { certificate } else { own_authority().0 };
        let trusted = |shown: &[u8]| muster_net::may_be(vec![named.clone()], shown, "localhost");
        let credentials = Some(Credentials::new("ci".to_owned(), "password".to_owned()));
        let server = async {
            let mut heard = Vec::new();
            // The library's own try, and the one that looks by itself.
            for _ in 0..2 {
                let (mut tcp, _) = listener.accept().await.unwrap();
                if !smtps {
                    converse(&mut tcp, true).await;
                }
                if let Ok(mut tls) = acceptor.accept(tcp).await {
                    heard.extend(converse(&mut tls, smtps).await);
                }
            }
            heard
        };
        let client = async {
            let error =
                transport(&config, credentials.clone()).unwrap().send(message.clone()).await.unwrap_err();
            assert!(is_authority(&error), "{error:?}");
            send_to_named(&config, credentials.clone(), &message, trusted).await
        };
        tokio::join!(server, client)
    }

    #[tokio::test]
    async fn a_server_whose_own_certificate_is_named_gets_the_mail() {
        for smtps in [true, false] {
            let (heard, sent) = mailed(smtps, true).await;
            sent.unwrap();
            for begin in ["AUTH PLAIN", "RCPT TO:<ann@example.org>", "DATA", "QUIT"] {
                assert!(heard.iter().any(|line| line.starts_with(begin)), "{begin}: {heard:?}");
            }
        }
    }

    #[tokio::test]
    async fn another_of_its_kind_gets_nothing_but_a_greeting() {
        for smtps in [true, false] {
            let (heard, sent) = mailed(smtps, false).await;
            let error = sent.unwrap_err().to_string();
            assert!(error.contains("SSL_CERT_FILE"), "{error}");
            assert!(
                !heard.iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")),
                "{heard:?}"
            );
        }
    }
}
