//! Values of the configuration that the master itself needs, with secrets in them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use muster_config::Host;
use muster_core::render::{Answer, RenderContext, RenderError, Renderable, Request, render};
use serde_json::Value;

/// How long a provider may take to tell a secret: some ask a server.
const ASKING: Duration = Duration::from_secs(30);

/// A text of the configuration, plain or put together with secrets (`util.Secret`, `%(secret:name)s`).
pub async fn with_secrets(text: &Renderable, host: &Host) -> Result<String> {
    let mut secrets = Secrets::default();
    loop {
        match render(text, &secrets) {
            Ok(Value::String(text)) => return Ok(text),
            Ok(other) => bail!("must be text, not {other}"),
            Err(RenderError::Failed(reason)) => bail!("{reason}"),
            Err(RenderError::Pending(requests)) => {
                for request in requests {
                    let Request::Secret { name } = request else {
                        bail!("may be put together with secrets, but not by functions of the configuration");
                    };
                    let value =
                        host.secret(&name, ASKING).await.with_context(|| format!("the secret {name:?}"))?;
                    secrets.0.insert(name, value);
                }
            }
        }
    }
}

/// Secrets, and nothing of a build.
#[derive(Default)]
struct Secrets(BTreeMap<String, Renderable>);

impl RenderContext for Secrets {
    fn property(&self, _name: &str) -> Option<&Value> {
        None
    }

    fn answer(&self, request: &Request) -> Option<Answer> {
        let Request::Secret { name } = request else { return None };
        self.0.get(name).cloned().map(Answer::Value)
    }
}
