//! Reading by path: what REST, WebSocket clients and pages see.

mod apply;
mod codebases;
mod lists;
mod logs;
mod long;
mod paths;
mod scope;
mod singles;
mod spec;
pub mod types;

use muster_core::{BuildId, WorkerId};
use muster_store::query;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use apply::MAX_LIST;
pub use logs::{LogContents, LogText};
use long::Items;
pub use long::Rows;
pub use paths::{Args, ENDPOINTS, Endpoint, Kind, Resource, find};
use scope::Scope;
pub use spec::{Filter, Order, ResultSpec};

use crate::Data;

/// Most bytes of a build's data in one reply, which is held in memory as a whole.
pub const MAX_BUILD_DATA: i64 = 32 << 20;

/// Only one is read at a time.
static BUILD_DATA: Semaphore = Semaphore::const_new(1);

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The query parameters are wrong.
    #[error("{0}")]
    BadRequest(String),
    /// No endpoint has this path.
    #[error("Invalid path: {0}")]
    InvalidPath(String),
    /// The endpoint is there, the thing isn't.
    #[error("not found while getting from endpoint for /{0}")]
    NotFound(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] muster_store::Error),
}

/// Part of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// The items that were asked for.
    pub items: Vec<Value>,
    /// What `meta.total` says: the page's length where the database made the page, else the list's.
    pub total: usize,
}

/// What stands at a path.
pub enum Found {
    /// Things of one type.
    List {
        /// The reply's key.
        plural: &'static str,
        /// They.
        page: Page,
    },
    /// Things of one type, too many to be held at once.
    Rows {
        /// The reply's key.
        plural: &'static str,
        /// As of a page.
        total: usize,
        /// To be read part by part.
        rows: Rows,
    },
    /// Lines of a log, in a thing whose `content` they are.
    Contents {
        /// The reply's key.
        plural: &'static str,
        /// The thing; its `content` is to be filled in.
        item: Value,
        /// To be read part by part.
        contents: LogContents,
    },
    /// One thing.
    Single {
        /// The reply's key.
        plural: &'static str,
        /// It.
        item: Value,
    },
    /// The text of a log.
    Log {
        /// To be read part by part.
        text: LogText,
        /// Whether a browser stores it instead of showing it.
        attachment: bool,
    },
    /// The data of a build, to be stored.
    Data(DataBytes),
}

/// Bytes that a step has stored with its build.
#[derive(Debug)]
pub struct DataBytes {
    /// Under which name.
    pub name: String,
    /// They.
    pub bytes: Vec<u8>,
}

/// The force schedulers, which the configuration knows and the database doesn't.
pub trait ForceSchedulers: Sync {
    /// They, in REST's shape; whether they are enabled is looked up.
    fn specs(&self) -> Vec<Value>;
}

/// Without a configuration there are none.
impl ForceSchedulers for () {
    fn specs(&self) -> Vec<Value> {
        Vec::new()
    }
}

impl Data {
    /// Reads what stands at a path below `/api/v2`, given by its decoded parts.
    ///
    /// # Errors
    /// [`Error`], with Buildbot's texts for wrong query parameters.
    pub async fn get(
        &self,
        path: &[String],
        query: &[(String, String)],
        configured: &dyn ForceSchedulers,
    ) -> Result<Found, Error> {
        let (endpoint, args) = find(path).ok_or_else(|| Error::InvalidPath(path.join("/")))?;
        let schema = endpoint.resource.schema();
        let spec = ResultSpec::parse(schema, query)?;
        let missing = || Error::NotFound(endpoint.pattern.to_owned());
        let (args, spec) = (&args, &spec);
        match endpoint.kind {
            Kind::List => {
                let _turn = long::turn(spec).await;
                let listed = match endpoint.resource {
                    Resource::ForceScheduler | Resource::RootLink | Resource::Spec => {
                        self.list_outside(endpoint.resource, args, spec, configured).await?.into()
                    }
                    resource => self
                        .db()
                        .read("rest_list", |tx| async move { lists::read(&tx, resource, args, spec).await })
                        .await?
                        .ok_or_else(missing)?,
                };
                let (plural, total) = (schema.plural, listed.total);
                Ok(match listed.items {
                    Items::Here(mut items) => {
                        apply::select_fields(&mut items, spec);
                        Found::List { plural, page: Page { items, total } }
                    }
                    Items::Long(keys) => {
                        let rows = Rows::new(self.clone(), endpoint.resource, spec.clone(), keys);
                        Found::Rows { plural, total, rows }
                    }
                })
            }
            _ if !spec.filters.is_empty() => Err(Error::BadRequest("this is not a collection".to_owned())),
            Kind::Single if endpoint.resource == Resource::LogChunk => {
                let (item, contents) = logs::contents(self, args, spec).await?.ok_or_else(missing)?;
                let mut item = [item];
                apply::select_fields(&mut item, spec);
                let ([item], plural) = (item, schema.plural);
                Ok(match item.get("content") {
                    Some(_) => Found::Contents { plural, item, contents },
                    None => Found::Single { plural, item },
                })
            }
            Kind::Single => {
                let item = match endpoint.resource {
                    Resource::ForceScheduler => {
                        let all = self.force_schedulers(configured).await?;
                        all.into_iter()
                            .find(|scheduler| scheduler["name"].as_str() == args.text("schedulername"))
                    }
                    resource => {
                        self.db()
                            .read("rest_single", |tx| async move {
                                singles::read(&tx, resource, args, spec).await
                            })
                            .await?
                    }
                };
                let mut item = [item.ok_or_else(missing)?];
                apply::select_fields(&mut item, spec);
                let [item] = item;
                Ok(Found::Single { plural: schema.plural, item })
            }
            Kind::Raw { .. } if endpoint.resource == Resource::BuildData => {
                Ok(Found::Data(self.build_data(args).await?.ok_or_else(missing)?))
            }
            Kind::Raw { attachment } => {
                let text = LogText::open(self, args).await?.ok_or_else(missing)?;
                Ok(Found::Log { text, attachment })
            }
        }
    }

    /// The bytes of the build's data that a path names.
    async fn build_data(&self, args: &Args) -> Result<Option<DataBytes>, Error> {
        let Some(name) = args.text("name") else { return Ok(None) };
        let _turn = BUILD_DATA.acquire().await.expect("the semaphore is never closed");
        let read = self.db().read("rest_build_data", |tx| async move {
            let Some(build) = Scope::new(&tx, args).build().await? else { return Ok(None) };
            let Some(data) = query::build_data::by_name(&tx, build, name).await? else { return Ok(None) };
            let bytes = query::build_data::value(&tx, build, name, MAX_BUILD_DATA).await?;
            Ok::<_, muster_store::Error>(Some((data.length, bytes)))
        });
        match read.await? {
            Some((_, Some(bytes))) => Ok(Some(DataBytes { name: name.to_owned(), bytes })),
            Some((length, None)) => Err(Error::BadRequest(format!(
                "the data has {length} bytes, and no more than {} MiB are sent",
                MAX_BUILD_DATA >> 20
            ))),
            None => Ok(None),
        }
    }

    /// The build that a path names; `None` when there is none. A build named by its id isn't looked up.
    pub async fn build_at(&self, args: &Args) -> Result<Option<BuildId>, Error> {
        Ok(self.db().read("build_at", |tx| async move { Scope::new(&tx, args).build().await }).await?)
    }

    /// The worker that a path names; `None` when there is none.
    pub async fn worker_at(&self, args: &Args) -> Result<Option<WorkerId>, Error> {
        let worker =
            self.db().read("worker_at", |tx| async move { Scope::new(&tx, args).worker().await }).await?;
        Ok(worker.map(|worker| worker.id))
    }

    /// The worker of this name.
    pub async fn worker_named(&self, name: &str) -> Result<Option<WorkerId>, Error> {
        let worker = self
            .db()
            .read("worker_named", |tx| async move { muster_store::query::workers::by_name(&tx, name).await });
        Ok(worker.await?.map(|worker| worker.id))
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.db().read("ping", |tx| async move { muster_store::query::ping(&tx).await }).await?)
    }

    /// Lists that are not in the database.
    async fn list_outside(
        &self,
        resource: Resource,
        args: &Args,
        spec: &ResultSpec,
        configured: &dyn ForceSchedulers,
    ) -> Result<Page, Error> {
        let items = match resource {
            Resource::RootLink => paths::ROOT_LINKS.iter().map(|name| json!({"name": name})).collect(),
            Resource::Spec => specs(),
            _ => {
                let mut all = self.force_schedulers(configured).await?;
                if args.text("builderid").is_some() {
                    let name = self
                        .db()
                        .read("rest_builder_name", |tx| async move { scope::builder_name(&tx, args).await });
                    let name = name.await?.map(Value::String);
                    all.retain(|scheduler| {
                        let builders = scheduler["builder_names"].as_array();
                        name.as_ref()
                            .is_some_and(|name| builders.is_some_and(|builders| builders.contains(name)))
                    });
                }
                all
            }
        };
        Ok(apply::in_memory(items, spec))
    }
}

impl Data {
    /// The configured force schedulers, with their switches from the database.
    async fn force_schedulers(&self, configured: &dyn ForceSchedulers) -> Result<Vec<Value>, Error> {
        let known = |tx| async move { query::masters::schedulers(&tx, &query::Select::all()).await };
        let known = self.db().read("force_scheduler_switches", known).await?;
        let mut all = configured.specs();
        for item in &mut all {
            if let Some(row) = known.iter().find(|row| item["name"] == row.name.as_str()) {
                item["enabled"] = row.enabled.into();
            }
        }
        Ok(all)
    }
}

/// The description of every path, ordered by path.
fn specs() -> Vec<Value> {
    let mut endpoints: Vec<&Endpoint> = ENDPOINTS.iter().collect();
    endpoints.sort_by_key(|endpoint| endpoint.pattern);
    let spec = |endpoint: &&Endpoint| {
        let schema = endpoint.resource.schema();
        json!({
            "path": endpoint.pattern,
            "plural": schema.plural,
            "type": schema.name,
            "type_spec": schema.spec(),
        })
    };
    endpoints.iter().map(spec).collect()
}
