//! What stands behind the question mark of a `db_url`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::options::{Pool, Refusal, Tls, TlsMode, decode};

/// The parameters that were not yet taken.
pub(super) struct Parameters(BTreeMap<String, Vec<String>>);

impl Parameters {
    pub(super) fn parse(query: &str) -> Result<Parameters, Refusal> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(decode(name)?).or_default().push(decode(value)?);
        }
        Ok(Parameters(all))
    }

    pub(super) fn take_all(&mut self, name: &str) -> Vec<String> {
        self.0.remove(name).unwrap_or_default()
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.take_all(name).pop()
    }

    fn number<T: std::str::FromStr + PartialOrd + From<u8>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match text.parse::<T>() {
            Ok(number) if number >= T::from(1) => Ok(Some(number)),
            _ => Err(format!("{name}={text} is no whole number above 0")),
        }
    }

    fn seconds(&mut self, name: &str, default: Duration) -> Result<Duration, Refusal> {
        Ok(self.number::<u64>(name)?.map_or(default, Duration::from_secs))
    }

    pub(super) fn pool(&mut self) -> Result<Pool, Refusal> {
        let default = Pool::default();
        Ok(Pool {
            size: self.number("pool_size")?.unwrap_or(default.size),
            wait: self.seconds("pool_timeout", default.wait)?,
            connect_timeout: self.seconds("connect_timeout", default.connect_timeout)?,
            max_idle: self.seconds("max_idle", default.max_idle)?,
            keepalive_idle: self.seconds("keepalives_idle", default.keepalive_idle)?,
            keepalive_interval: self.seconds("keepalives_interval", default.keepalive_interval)?,
            keepalive_count: self.number("keepalives_count")?.unwrap_or(default.keepalive_count),
            reconnect_timeout: self.seconds("reconnect_timeout", default.reconnect_timeout)?,
        })
    }

    pub(super) fn writable_only(&mut self) -> Result<bool, Refusal> {
        match self.take("target_session_attrs").as_deref() {
            None | Some("read-write" | "primary") => Ok(true),
            Some("any") => Ok(false),
            Some(other) => Err(format!("target_session_attrs={other} is neither read-write nor any")),
        }
    }

    pub(super) fn tls_of_postgres(&mut self) -> Result<Tls, Refusal> {
        let mode = match self.take("sslmode").as_deref() {
            None | Some("prefer" | "allow") => TlsMode::Prefer,
            Some("disable") => TlsMode::Disable,
            Some("require") => TlsMode::Require,
            Some("verify-ca") => TlsMode::VerifyCa,
            Some("verify-full") => TlsMode::VerifyFull,
            Some(other) => {
                return Err(format!(
                    "sslmode={other} is none of disable, prefer, require, verify-ca, verify-full"
                ));
            }
        };
        let root = self.take("sslrootcert").map(PathBuf::from);
        let identity = identity((self.take("sslcert"), "sslcert"), (self.take("sslkey"), "sslkey"))?;
        Ok(Tls { mode, root, identity })
    }

    pub(super) fn tls_of_mysql(&mut self) -> Result<Tls, Refusal> {
        let root = self.take("ssl_ca").map(PathBuf::from);
        let check_name = matches!(self.take("ssl_check_hostname").as_deref(), Some("true" | "True" | "1"));
        let mode = match self.take("ssl_mode").map(|mode| mode.to_ascii_uppercase()).as_deref() {
            None => match (&root, check_name) {
                (None, _) => TlsMode::Disable,
                (Some(_), false) => TlsMode::VerifyCa,
                (Some(_), true) => TlsMode::VerifyFull,
            },
            Some("DISABLED") => TlsMode::Disable,
            Some("PREFERRED" | "REQUIRED") => TlsMode::Require,
            Some("VERIFY_CA") => TlsMode::VerifyCa,
            Some("VERIFY_IDENTITY") => TlsMode::VerifyFull,
            Some(other) => {
                return Err(format!(
                    "ssl_mode={other} is none of DISABLED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY"
                ));
            }
        };
        let identity = identity((self.take("ssl_cert"), "ssl_cert"), (self.take("ssl_key"), "ssl_key"))?;
        Ok(Tls { mode, root, identity })
    }

    /// Parameters that Buildbot itself reads from the URLs of MySQL.
    pub(super) fn check_buildbots_of_mysql(&mut self) -> Result<(), Refusal> {
        if let Some(engine) = self.take("storage_engine")
            && !engine.eq_ignore_ascii_case("innodb")
        {
            return Err(format!("storage_engine={engine} has no transactions; leave it out or write InnoDB"));
        }
        if let Some(charset) = self.take("charset")
            && !["utf8", "utf8mb3", "utf8mb4"].contains(&charset.to_ascii_lowercase().as_str())
        {
            return Err(format!("charset={charset} can't hold every text; leave it out or write utf8"));
        }
        // Text is always Unicode here.
        self.take("use_unicode");
        Ok(())
    }

    pub(super) fn refuse_others(self) -> Result<(), Refusal> {
        // Named so that several masters can be told apart on the server; it changes nothing.
        const WITHOUT_EFFECT: [&str; 2] = ["application_name", "client_encoding"];
        match self.0.keys().find(|name| !WITHOUT_EFFECT.contains(&name.as_str())) {
            Some(name) => Err(format!("there is no parameter {name:?}; check its spelling or leave it out")),
            None => Ok(()),
        }
    }
}

fn identity(
    cert: (Option<String>, &str),
    key: (Option<String>, &str),
) -> Result<Option<(PathBuf, PathBuf)>, Refusal> {
    match (cert.0, key.0) {
        (Some(cert), Some(key)) => Ok(Some((cert.into(), key.into()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(format!("{} needs {} beside it", cert.1, key.1)),
        (None, Some(_)) => Err(format!("{} needs {} beside it", key.1, cert.1)),
    }
}
