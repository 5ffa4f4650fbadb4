//! URLs of database servers.

use std::{fmt, path::Path};

use super::{
    options::{Pool, Refusal, Tls, decode},
    parameters::Parameters,
};

/// A server and what is said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Who logs in.
    pub user: Option<String>,
    /// The password, if there is one.
    pub password: Option<Password>,
    /// Hosts (or directories of Unix sockets, which begin with a slash) and their ports, in the order of trying.
    pub hosts: Vec<(String, Option<u16>)>,
    /// The database's name.
    pub database: String,
    /// Which of several hosts will do: only one that takes writes, unless the URL says `any`.
    pub writable_only: bool,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// Sizes and times.
    pub pool: Pool,
}

impl ServerUrl {
    /// How people are told which database is meant.
    pub fn place(&self) -> String {
        let hosts: Vec<String> = self
            .hosts
            .iter()
            .map(|(host, port)| match port {
                Some(port) if host.contains(':') => format!("[{host}]:{port}"),
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            })
            .collect();
        format!("{} on {}", self.database, hosts.join(","))
    }
}

/// A password, which no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads what follows `://` in the URL of a server.
pub(super) fn parse(
    rest: &str,
    basedir: &Path,
    dialect: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<ServerUrl, Refusal> {
    let postgres = dialect.starts_with("postgres");
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let mut parameters = Parameters::parse(query)?;
    let (user_info, hosts) = match authority.rsplit_once('@') {
        Some((user_info, hosts)) => (user_info, hosts),
        None => ("", authority),
    };
    let (user, password) = match user_info.split_once(':') {
        Some((user, password)) => (user, Some(decode(password)?)),
        None => (user_info, None),
    };
    let password = match password {
        Some(password) => Some(password),
        None => password_from_elsewhere(&mut parameters, basedir, postgres, env)?,
    };
    let url = ServerUrl {
        user: some(decode(user)?),
        password: password.map(Password),
        hosts: all_hosts(hosts, &mut parameters, postgres)?,
        database: decode(database)?,
        writable_only: parameters.writable_only()?,
        tls: if postgres { parameters.tls_of_postgres()? } else { parameters.tls_of_mysql()? },
        pool: parameters.pool()?,
    };
    if url.database.is_empty() {
        return Err(format!("the name of a database is missing; write {dialect}://user@host/database"));
    }
    if !postgres {
        parameters.check_buildbots_of_mysql()?;
        if url.hosts.len() > 1 {
            return Err(
                "MySQL takes one host here; put a proxy (MaxScale, ProxySQL) before several".to_owned()
            );
        }
    }
    parameters.refuse_others()?;
    Ok(url)
}

fn all_hosts(
    authority: &str,
    parameters: &mut Parameters,
    postgres: bool,
) -> Result<Vec<(String, Option<u16>)>, Refusal> {
    let mut names: Vec<String> = parameters.take_all("host");
    names.extend(parameters.take("unix_socket"));
    if names.is_empty() && !authority.is_empty() {
        names = authority.split(',').map(str::to_owned).collect();
    }
    if names.is_empty() {
        // As each client library does without a host.
        names.push(if postgres { "/var/run/postgresql" } else { "localhost" }.to_owned());
    }
    names.iter().flat_map(|name| name.split(',')).map(host_and_port).collect()
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), Refusal> {
    let (host, port) = if let Some(literal) = text.strip_prefix('[') {
        let (address, rest) = literal
            .split_once(']')
            .ok_or_else(|| format!("the address {text:?} lacks its ]; write [::1]:5432"))?;
        (address, rest.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let wrong =
        // What stands for the port isn't shown: without the @ behind it a password looks like one.
        |_| format!("the port of {host:?} is no number from 1 to 65535 (put IPv6 addresses in brackets)");
    let port = port.filter(|port| !port.is_empty()).map(|port| port.parse().map_err(wrong)).transpose()?;
    Ok((decode(host)?, port))
}

/// A password that the URL leaves out: a file, then the environment.
fn password_from_elsewhere(
    parameters: &mut Parameters,
    basedir: &Path,
    postgres: bool,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, Refusal> {
    let file = parameters.take("password_file").or_else(|| env("MUSTER_DB_PASSWORD_FILE"));
    if let Some(file) = file {
        let path = basedir.join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("the file {} of the password can't be read: {error}", path.display()))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok(env("MUSTER_DB_PASSWORD").or_else(|| env(if postgres { "PGPASSWORD" } else { "MYSQL_PWD" })))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
