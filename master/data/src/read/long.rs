//! Lists that may be long: their keys are read at once, their rows a page at a time.

use std::{collections::HashMap, sync::LazyLock};

use muster_store::{
    Tx,
    query::{self, Select, Table, properties::Wanted},
};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Error, Page, Resource, ResultSpec,
    apply::{self, MAX_LIST, Plan, Sifted, check_length},
};
use crate::{Data, resources};

/// Rows that are read and held at a time.
pub(super) const ROWS: usize = 200;
/// Lists whose keys are read at once; more wait. A list of [`MAX_LIST`] keys takes some 10 MiB for that moment.
const LISTS_AT_ONCE: usize = 3;

static LISTS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(LISTS_AT_ONCE));

/// A list: with its items, or too long for that.
pub(super) struct Listed {
    pub items: Items,
    pub total: usize,
}

pub(super) enum Items {
    Here(Vec<Value>),
    /// By their keys, in their order.
    Long(Vec<i64>),
}

impl From<Page> for Listed {
    fn from(page: Page) -> Listed {
        Listed { items: Items::Here(page.items), total: page.total }
    }
}

/// The turn of a list, before it takes a connection: others must not wait for one meanwhile.
pub(super) async fn turn(spec: &ResultSpec) -> Option<SemaphorePermit<'static>> {
    let limit = spec.limit.and_then(|limit| usize::try_from(limit).ok());
    match spec.filters.is_empty() && limit.is_some_and(|limit| limit <= ROWS) {
        true => None,
        false => Some(LISTS.acquire().await.expect("the semaphore is never closed")),
    }
}

/// What `plan` finds.
pub(super) async fn long(
    tx: &Tx,
    resource: Resource,
    plan: Plan,
    spec: &ResultSpec,
) -> Result<Listed, Error> {
    let table = table(resource);
    let mut keys = query::keys(tx, table, &plan.select).await?;
    check_length(keys.len())?;
    if resource == Resource::Change && spec.order.is_empty() {
        // Buildbot turns every page of changes round; where an order was asked for, it is kept instead.
        keys.reverse();
    }
    let mut total = keys.len();
    if let Some(rest) = plan.rest() {
        let mut sifted = Sifted::default();
        for part in keys.chunks(ROWS) {
            sifted.take(items(tx, resource, spec, part).await?, rest);
        }
        (keys, total) = sifted.page(rest);
    }
    let items = match keys.len() <= ROWS {
        true => Items::Here(values(items(tx, resource, spec, &keys).await?)),
        false => Items::Long(keys),
    };
    Ok(Listed { items, total })
}

fn values(items: Vec<(i64, Value)>) -> Vec<Value> {
    items.into_iter().map(|(_, item)| item).collect()
}

/// What a resource with long lists is read from.
fn table(resource: Resource) -> &'static Table {
    match resource {
        Resource::Build => &query::builds::TABLE,
        Resource::BuildRequest => &query::requests::TABLE,
        Resource::Buildset => &query::buildsets::TABLE,
        Resource::Change => &query::changes::TABLE,
        Resource::SourceStamp => &query::sourcestamps::TABLE,
        Resource::Commit => &query::commits::TABLE,
        Resource::TestResult => &query::test_results::RESULTS,
        Resource::TestResultSet => &query::test_results::SETS,
        other => unreachable!("lists of {other:?} are short"),
    }
}

/// The items with these keys, in their order. One that is gone meanwhile is left out.
async fn items(
    tx: &Tx,
    resource: Resource,
    spec: &ResultSpec,
    keys: &[i64],
) -> Result<Vec<(i64, Value)>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let select = Select::all().among(table(resource), keys);
    let select = &select;
    let mut found: HashMap<i64, Value> = match resource {
        Resource::Build => {
            let rows = query::builds::list(tx, select).await?;
            rows.iter().map(|row| (row.id.0, resources::build(row))).collect()
        }
        Resource::BuildRequest => requests(tx, spec, select).await?,
        Resource::Buildset => {
            let rows = query::buildsets::list(tx, select).await?;
            rows.iter().map(|row| (row.id.0, resources::buildset(row))).collect()
        }
        Resource::Change => {
            let rows = query::changes::list(tx, select).await?;
            rows.iter().map(|row| (row.id.0, resources::change(row))).collect()
        }
        Resource::SourceStamp => {
            let rows = query::sourcestamps::list(tx, select).await?;
            rows.iter().map(|row| (row.id.0, resources::sourcestamp(row))).collect()
        }
        Resource::Commit => {
            let rows = query::commits::list(tx, select).await?;
            rows.iter().map(|row| (row.id.0, resources::commit(row))).collect()
        }
        Resource::TestResult => {
            let rows = query::test_results::results(tx, select).await?;
            rows.iter().map(|row| (row.id, resources::test_result(row))).collect()
        }
        Resource::TestResultSet => {
            let rows = query::test_results::sets(tx, select).await?;
            rows.iter().map(|row| (row.id.0, resources::test_result_set(row))).collect()
        }
        _ => HashMap::new(),
    };
    if let (Resource::Build, Some(wanted)) = (resource, wanted_properties(spec)) {
        let mut properties = query::properties::of_builds(tx, keys, &wanted).await?;
        for (key, item) in &mut found {
            item["properties"] = resources::properties(&properties.remove(key).unwrap_or_default());
        }
    }
    Ok(keys.iter().filter_map(|key| Some((*key, found.remove(key)?))).collect())
}

async fn requests(tx: &Tx, spec: &ResultSpec, select: &Select) -> Result<HashMap<i64, Value>, Error> {
    let rows = query::requests::list(tx, select).await?;
    let mut found: HashMap<i64, Value> =
        rows.iter().map(|row| (row.id.0, resources::build_request(row))).collect();
    if let Some(wanted) = wanted_properties(spec) {
        let buildsets: Vec<i64> = rows.iter().map(|row| row.buildset.0).collect();
        let properties = query::properties::of_buildsets(tx, &buildsets, &wanted).await?;
        for row in &rows {
            let of_it = properties.get(&row.buildset.0).cloned().unwrap_or_default();
            if let Some(item) = found.get_mut(&row.id.0) {
                item["properties"] = resources::properties(&of_it);
            }
        }
    }
    Ok(found)
}

/// Which properties `property=` asks for.
pub(super) fn wanted_properties(spec: &ResultSpec) -> Option<Wanted> {
    match &spec.properties[..] {
        [] => None,
        names if names.iter().any(|name| name == "*") => Some(Wanted::All),
        names => Some(Wanted::Named(names.to_vec())),
    }
}

/// The items of a long list, a page at a time.
pub struct Rows {
    data: Data,
    resource: Resource,
    spec: ResultSpec,
    keys: std::vec::IntoIter<i64>,
}

impl Rows {
    pub(super) fn new(data: Data, resource: Resource, spec: ResultSpec, keys: Vec<i64>) -> Rows {
        Rows { data, resource, spec, keys: keys.into_iter() }
    }

    /// The next ones; `None` at the end.
    ///
    /// # Errors
    /// The database's.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, Error> {
        let keys: Vec<i64> = self.keys.by_ref().take(ROWS).collect();
        if keys.is_empty() {
            return Ok(None);
        }
        let (resource, spec, keys) = (self.resource, &self.spec, &keys);
        let read = |tx| async move { items(&tx, resource, spec, keys).await };
        let mut items = values(self.data.db().read("rest_rows", read).await?);
        apply::select_fields(&mut items, spec);
        Ok(Some(items))
    }
}

const _: () = assert!(ROWS < MAX_LIST as usize, "a page is a part of a list");
