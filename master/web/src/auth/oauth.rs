//! Log-in at a provider that speaks OAuth2: people are sent there, and come back with a code, for which the provider tells who
//! they are (`docs/compat/www-api.md` D.2).

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::http::{Request, header};
use muster_config::{
    Host,
    snapshot::{OauthConfig, OauthProvider},
};
use muster_core::render::Renderable;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{fetch::fetch, session::UserInfo};

/// How long a secret's provider may take.
const SECRET_LIMIT: Duration = Duration::from_secs(30);
/// Organisations whose teams are asked for; of more the others' are left out. GitHub tells a hundred of them at most.
const MAX_ORGANISATIONS: usize = 100;

/// What a form leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why nobody was logged in.
pub(crate) type Refused = Cow<'static, str>;

/// A form's text.
pub(crate) fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let pairs = pairs.into_iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Where somebody is sent to log in.
pub(crate) async fn address(
    config: &OauthConfig,
    host: Option<&Host>,
    redirect_uri: &str,
    state: &str,
) -> Result<String, Refused> {
    let client = text(host, &config.client_id).await?;
    let scope = config.scope.as_deref().map(|scope| ("scope", scope));
    let mut pairs =
        vec![("client_id", client.as_str()), ("redirect_uri", redirect_uri), ("response_type", "code")];
    pairs.extend(scope);
    pairs.push(("state", state));
    Ok(format!("{}?{}", config.auth_uri, form(pairs)))
}

/// Who somebody is, for the code that they came back with.
pub(crate) async fn user_of(
    config: &OauthConfig,
    host: Option<&Host>,
    redirect_uri: &str,
    code: &str,
) -> Result<UserInfo, Refused> {
    let (client, secret) = (text(host, &config.client_id).await?, text(host, &config.client_secret).await?);
    let asked = form([
        ("redirect_uri", redirect_uri),
        ("code", code),
        ("grant_type", "authorization_code"),
        ("client_id", &client),
        ("client_secret", &secret),
    ]);
    let request = Request::post(&config.token_uri)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json");
    let token = fetch(request.body(asked).map_err(|error| error.to_string())?).await;
    let token = token.map_err(|error| error.to_string())?;
    if let Some(error) = token.get("error") {
        let described = token.get("error_description").unwrap_or(error);
        return Err(
            format!("the provider refused the code: {}", described.as_str().unwrap_or("an error")).into()
        );
    }
    let Some(access) = token.get("access_token").and_then(Value::as_str) else {
        return Err("the provider's answer has no access_token".into());
    };
    let asking = Asking { config, access };
    match config.provider {
        OauthProvider::Google => asking.google().await,
        OauthProvider::Github if config.api_version == 4 => asking.github_4().await,
        OauthProvider::Github => asking.github_3().await,
        OauthProvider::Gitlab => asking.gitlab().await,
        OauthProvider::Bitbucket => asking.bitbucket().await,
    }
}

async fn text(host: Option<&Host>, given: &Renderable) -> Result<String, Refused> {
    let secret;
    let value = match (given, host) {
        (Renderable::Secret(name), Some(host)) => {
            secret = host.secret(name, SECRET_LIMIT).await.map_err(|error| error.to_string())?;
            &secret
        }
        (given, _) => given,
    };
    match value {
        Renderable::Literal(Value::String(text)) => Ok(text.clone()),
        _ => Err("clientId and clientSecret of c['www']['auth'] must be texts or secrets".into()),
    }
}

struct Asking<'a> {
    config: &'a OauthConfig,
    access: &'a str,
}

impl Asking<'_> {
    async fn get(&self, path: &str) -> Result<Value, Refused> {
        let (github, resource) = (self.config.provider == OauthProvider::Github, &self.config.resource);
        let mark = if path.contains('?') { '&' } else { '?' };
        let address = match github {
            true => format!("{resource}{path}"),
            false => format!("{resource}{path}{mark}{}", form([("access_token", self.access)])),
        };
        self.ask(Request::get(address), String::new()).await
    }

    async fn ask(&self, request: axum::http::request::Builder, body: String) -> Result<Value, Refused> {
        let mut request = request
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")));
        if self.config.provider == OauthProvider::Github {
            request = request.header(header::AUTHORIZATION, format!("token {}", self.access));
        }
        let answer = fetch(request.body(body).map_err(|error| error.to_string())?).await;
        Ok(answer.map_err(|error| error.to_string())?)
    }

    async fn google(&self) -> Result<UserInfo, Refused> {
        let user = self.get("/userinfo").await?;
        let email = needed(&user, "email")?;
        let name = email.split('@').next().unwrap_or_default();
        Ok(info(&user, &[("full_name", "name"), ("email", "email"), ("avatar_url", "picture")], name, None))
    }

    async fn github_3(&self) -> Result<UserInfo, Refused> {
        let mut user = self.get("/user").await?;
        let emails = self.get("/user/emails").await?;
        primary(&mut user, emails.as_array(), "primary");
        let organisations = self.get("/user/orgs").await?;
        let groups = names(organisations.as_array(), "login");
        Ok(info(&user, &[("full_name", "name"), ("email", "email")], needed(&user, "login")?, Some(groups)))
    }

    async fn graphql(&self, query: &str) -> Result<Value, Refused> {
        let request = Request::post(&self.config.resource).header(header::CONTENT_TYPE, "application/json");
        let mut answer = self.ask(request, json!({ "query": query }).to_string()).await?;
        match answer.get_mut("data").map(Value::take) {
            Some(data) if data.is_object() => Ok(data),
            _ => Err("GitHub's answer has no data".into()),
        }
    }

    async fn github_4(&self) -> Result<UserInfo, Refused> {
        let asked =
            "query { viewer { email login name organizations(first: 100) { edges { node { login } } } } }";
        let data = self.graphql(asked).await?;
        let user = &data["viewer"];
        let login = needed(user, "login")?;
        let organisations = nodes(&user["organizations"]["edges"], "login");
        let mut groups = organisations.clone();
        if self.config.teams && !organisations.is_empty() {
            groups.extend(self.teams(login, &organisations).await?);
        }
        Ok(info(user, &[("full_name", "name"), ("email", "email")], login, Some(groups)))
    }

    /// Teams by their names and by their short names, behind the organisation's, in one order.
    async fn teams(&self, login: &str, organisations: &[String]) -> Result<Vec<String>, Refused> {
        let aliases = aliases(organisations);
        let asked = aliases.iter().map(|(alias, organisation)| {
            let (organisation, login) = (json!(organisation), json!([login]));
            format!(
                "{alias}: organization(login: {organisation}) {{ teams(first: 100 userLogins: {login}) \
                 {{ edges {{ node {{ name, slug }} }} }} }}"
            )
        });
        let data = self.graphql(&format!("query {{ {} }}", asked.collect::<Vec<_>>().join(" "))).await?;
        let mut teams = BTreeSet::new();
        for (alias, organisation) in &aliases {
            // Organisations that don't let others look are null.
            let edges = &data[alias.as_str()]["teams"]["edges"];
            for key in ["name", "slug"] {
                teams.extend(nodes(edges, key).into_iter().map(|team| format!("{organisation}/{team}")));
            }
        }
        Ok(teams.into_iter().collect())
    }

    async fn gitlab(&self) -> Result<UserInfo, Refused> {
        let user = self.get("/user").await?;
        let groups = names(self.get("/groups").await?.as_array(), "path");
        let fields = [("full_name", "name"), ("email", "email"), ("avatar_url", "avatar_url")];
        Ok(info(&user, &fields, needed(&user, "username")?, Some(groups)))
    }

    async fn bitbucket(&self) -> Result<UserInfo, Refused> {
        let mut user = self.get("/user").await?;
        let emails = self.get("/user/emails").await?;
        primary(&mut user, emails["values"].as_array(), "is_primary");
        let groups = self.get("/workspaces?role=member").await?;
        let groups = names(groups["values"].as_array(), "slug");
        let fields = [("full_name", "display_name"), ("email", "email")];
        Ok(info(&user, &fields, needed(&user, "username")?, Some(groups)))
    }
}

/// Names for organisations that GraphQL takes, each once.
fn aliases(organisations: &[String]) -> BTreeMap<String, &str> {
    let mut aliases = BTreeMap::new();
    for organisation in organisations.iter().take(MAX_ORGANISATIONS) {
        let word = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
        let mut alias: String = organisation.chars().map(word).collect();
        if alias.starts_with(|first: char| first.is_ascii_digit()) {
            alias.insert(0, '_');
        }
        while aliases.contains_key(&alias) {
            alias.push('_');
        }
        aliases.insert(alias, organisation.as_str());
    }
    aliases
}

fn needed<'a>(user: &'a Value, field: &str) -> Result<&'a str, Refused> {
    let text = user.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| format!("the provider doesn't tell '{field}' of the user").into())
}

fn info(user: &Value, fields: &[(&str, &str)], username: &str, groups: Option<Vec<String>>) -> UserInfo {
    let mut info = Map::new();
    for (ours, theirs) in fields {
        info.insert((*ours).to_owned(), user.get(*theirs).cloned().unwrap_or_default());
    }
    info.insert("username".to_owned(), username.into());
    if let Some(groups) = groups {
        info.insert("groups".to_owned(), groups.into());
    }
    info
}

/// Only the address that the provider has as the first one; others need not be the user's.
fn primary(user: &mut Value, emails: Option<&Vec<Value>>, mark: &str) {
    let first = emails.into_iter().flatten().find(|email| email[mark] == true);
    if let (Some(email), Some(user)) = (first, user.as_object_mut()) {
        user.insert("email".to_owned(), email["email"].clone());
    }
}

fn names(items: Option<&Vec<Value>>, field: &str) -> Vec<String> {
    items.into_iter().flatten().filter_map(|item| item[field].as_str()).map(str::to_owned).collect()
}

fn nodes(edges: &Value, field: &str) -> Vec<String> {
    let nodes: Vec<Value> = edges.as_array().into_iter().flatten().map(|edge| edge["node"].clone()).collect();
    names(Some(&nodes), field)
}
