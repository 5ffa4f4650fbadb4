//! Mails.

use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, header};
use lettre::transport::smtp::authentication::Credentials;
use muster_config::Host;
use muster_config::snapshot::{MailConfig, Snapshot};
use muster_core::render::Renderable;
use muster_data::MissingWorker;
use serde_json::Value;

use crate::mail_server::{self, ServerError};

/// How long a secret's provider may take.
const SECRET_TIMEOUT: Duration = Duration::from_secs(20);

/// A mail before it has an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) subject: String,
    pub(crate) body: String,
    /// Who gets it, and nobody else.
    pub(crate) users: Vec<String>,
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MailError {
    #[error("{0:?} is no mail address: {1}")]
    Address(String, lettre::address::AddressError),
    #[error("the header {0:?} can't stand in a mail")]
    Header(String),
    #[error("the mail can't be written: {0}")]
    Message(#[from] lettre::error::Error),
    #[error("{0} can't be had: {1}")]
    Secret(&'static str, String),
    #[error("{relay}:{port}: {error}")]
    Server { relay: String, port: u16, error: ServerError },
}

impl MailError {
    /// Whether the same mail may be taken later: the server is away, busy or greylists, or a secret's provider is away.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            MailError::Server { error, .. } => !error.is_permanent(),
            MailError::Secret(..) => true,
            MailError::Address(..) | MailError::Header(_) | MailError::Message(_) => false,
        }
    }
}

/// What is said about a missing worker.
pub(crate) fn about_missing(snapshot: &Snapshot, missing: &MissingWorker) -> Mail {
    let MissingWorker { worker, last_connection, notify } = missing;
    let admin = worker.info.get("admin").and_then(|admin| admin.as_str()).map(str::trim).unwrap_or("unknown");
    let body = format!(
        "The worker {name} of {title} is missing.\n\n\
         It was connected until: {last_connection}\n\
         Its administrator:      {admin}\n\
         Its page:               {url}#/workers/{id}\n\n\
         Builds that need it wait until it is back.\n",
        name = worker.name,
        title = snapshot.title,
        url = snapshot.buildbot_url,
        id = worker.id,
    );
    // Exactly those whom the worker names, whatever the reporter says about other mails: as in Buildbot.
    let subject = format!("Buildbot {} worker {} missing", snapshot.title, worker.name);
    Mail { subject, body, users: notify.clone() }
}

/// Sends a mail; answers how many get it. Nobody is a good answer: who has no address gets no mail.
pub(crate) async fn send(host: &Host, config: &MailConfig, mail: Mail) -> Result<usize, MailError> {
    if config.dump_mails_to_log {
        tracing::info!("a mail: {}\n{}", mail.subject, mail.body);
    }
    let to = recipients(config, &mail.users);
    if to.is_empty() {
        return Ok(0);
    }
    let message = message(config, &mail, &to)?;
    let sent = mail_server::send(config, credentials(host, config).await?, message).await;
    sent.map_err(|error| MailError::Server {
        relay: config.relay_host.clone(),
        port: config.smtp_port,
        error,
    })?;
    Ok(to.len())
}

/// Who is written to. One whose address can't be one keeps it from nobody else.
fn recipients(config: &MailConfig, users: &[String]) -> Vec<Mailbox> {
    let mut to: Vec<String> = users.iter().filter_map(|user| address(config, user)).collect();
    to.sort();
    to.dedup();
    let read =
        |text: String| mailbox(&text).map_err(|error| tracing::error!("a mail goes on without {error}")).ok();
    to.into_iter().filter_map(read).collect()
}

/// A user's address; names get the configured domain, and have no mail without one.
fn address(config: &MailConfig, user: &str) -> Option<String> {
    match &config.domain {
        _ if user.contains('@') => Some(user.to_owned()),
        Some(domain) => Some(format!("{user}@{domain}")),
        None => None,
    }
}

fn message(config: &MailConfig, mail: &Mail, to: &[Mailbox]) -> Result<Message, MailError> {
    let mut builder = Message::builder()
        .from(mailbox(&config.from_address)?)
        .subject(mail.subject.clone())
        .header(header::ContentType::TEXT_PLAIN);
    for address in to {
        builder = builder.to(address.clone());
    }
    for (name, value) in &config.extra_headers {
        let header = HeaderName::new_from_ascii(name.clone()).map_err(|_| MailError::Header(name.clone()))?;
        builder = builder.raw_header(HeaderValue::new(header, value.clone()));
    }
    Ok(builder.body(mail.body.clone())?)
}

fn mailbox(text: &str) -> Result<Mailbox, MailError> {
    text.parse().map_err(|error| MailError::Address(text.to_owned(), error))
}

/// What the server is told of who sends, if it wants to know. Secrets are asked for each mail: they may change.
async fn credentials(host: &Host, config: &MailConfig) -> Result<Option<Credentials>, MailError> {
    let Some(user) = &config.smtp_user else { return Ok(None) };
    let user = text(host, "smtpUser", user).await?;
    let password = match &config.smtp_password {
        Some(password) => text(host, "smtpPassword", password).await?,
        None => String::new(),
    };
    Ok(Some(Credentials::new(user, password)))
}

async fn text(host: &Host, what: &'static str, given: &Renderable) -> Result<String, MailError> {
    let asked = match given {
        Renderable::Secret(name) => {
            let asked = host.secret(name, SECRET_TIMEOUT).await;
            asked.map_err(|error| MailError::Secret(what, error.to_string()))?
        }
        plain => plain.clone(),
    };
    match asked {
        Renderable::Literal(Value::String(text)) => Ok(text),
        _ => Err(MailError::Secret(what, "it is no text".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    fn config(port: u16) -> MailConfig {
        MailConfig {
            from_address: "CI <ci@example.org>".into(),
            relay_host: "127.0.0.1".into(),
            smtp_port: port,
            use_tls: false,
            use_smtps: false,
            smtp_user: None,
            smtp_password: None,
            domain: Some("example.org".into()),
            extra_headers: [("X-Site".to_owned(), "one".to_owned())].into(),
            dump_mails_to_log: false,
        }
    }

    /// One that is never asked.
    fn host() -> Host {
        Host::new(Path::new("python3"), Path::new("/")).0
    }

    /// Takes one mail; answers what the client said.
    async fn sink(listener: TcpListener) -> Vec<String> {
        let (stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut said = Vec::new();
        let mut in_body = false;
        writer.write_all(b"220 sink\r\n").await.unwrap();
        while let Some(line) = lines.next_line().await.unwrap() {
            let answer: &[u8] = match line.as_str() {
                "." if in_body => {
                    in_body = false;
                    b"250 taken\r\n"
                }
                _ if in_body => b"",
                "DATA" => {
                    in_body = true;
                    b"354 go on\r\n"
                }
                "QUIT" => break,
                _ => b"250 ok\r\n",
            };
            let taken = answer == b"250 taken\r\n";
            said.push(line);
            writer.write_all(answer).await.unwrap();
            if taken {
                break;
            }
        }
        said
    }

    #[tokio::test]
    async fn a_mail_reaches_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(listener.local_addr().unwrap().port());
        let mail = Mail {
            subject: "a w\u{f6}rker".into(),
            body: "It is gone.\n".into(),
            users: vec!["joe".into(), "ann@else.org".into(), "no @ address".into(), "joe@example.org".into()],
        };
        let host = host();
        let (said, sent) = tokio::join!(sink(listener), send(&host, &config, mail));
        assert_eq!(sent.unwrap(), 2);
        let said = said.join("\n");
        for part in [
            "MAIL FROM:<ci@example.org>",
            "RCPT TO:<ann@else.org>",
            "RCPT TO:<joe@example.org>",
            "X-Site: one",
            "It is gone.",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(said.matches("RCPT TO").count(), 2);
    }

    #[tokio::test]
    async fn nobody_to_tell_is_no_error_and_a_bad_address_is() {
        let nobody = MailConfig { domain: None, ..config(9) };
        let mail = Mail { subject: "s".into(), body: "b".into(), users: vec!["joe".into()] };
        assert_eq!(send(&host(), &nobody, mail.clone()).await.unwrap(), 0);
        let bad = MailConfig { from_address: "no address".into(), ..config(9) };
        let error = send(&host(), &bad, mail).await.unwrap_err().to_string();
        assert!(error.contains("\"no address\" is no mail address"), "{error}");
    }
}
