//! Types of resources: their fields, for parsing filters and for `application.spec` (`docs/compat/www-api.md` A.4).

use FieldKind::{Binary, Bool, Entity, Identifier, Int, Json, List, Properties, Text, Time};
use serde_json::{Value, json};

/// What a field holds.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum FieldKind {
    Int,
    /// Seconds since 1970.
    Time,
    Bool,
    Text,
    Identifier,
    Json,
    Properties,
    Binary,
    List(&'static FieldKind),
    Entity(&'static Type),
}

/// One field.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    pub nullable: bool,
}

/// A type of resources.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Type {
    pub name: &'static str,
    /// The key of replies; empty where it only occurs inside others.
    pub plural: &'static str,
    pub fields: &'static [Field],
}

impl Type {
    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Its description in `application.spec`.
    pub fn spec(&self) -> Value {
        if self.fields.is_empty() {
            return json!({"name": self.name});
        }
        let field = |field: &Field| {
            let mut spec = field.kind.spec();
            if let (true, Some(spec)) = (field.nullable, spec.as_object_mut()) {
                spec.insert("can_be_null".to_owned(), Value::Bool(true));
            }
            let or_none = if field.nullable { " or None" } else { "" };
            json!({"name": field.name, "type": format!("{}{or_none}", field.kind.name()), "type_spec": spec})
        };
        json!({"type": self.name, "fields": self.fields.iter().map(field).collect::<Vec<_>>()})
    }
}

impl FieldKind {
    fn name(&self) -> &'static str {
        match self {
            Int => "integer",
            Time => "datetime",
            Bool => "boolean",
            Text => "string",
            Identifier => "identifier",
            Json => "jsonobject",
            Properties => "sourcedproperties",
            Binary => "binary",
            List(_) => "list",
            Entity(entity) => entity.name,
        }
    }

    fn spec(&self) -> Value {
        match self {
            List(element) => json!({"type": "list", "of": element.spec()}),
            Entity(entity) => entity.spec(),
            simple => json!({"name": simple.name()}),
        }
    }
}

const fn field(name: &'static str, kind: FieldKind) -> Field {
    Field { name, kind, nullable: false }
}

const fn optional(name: &'static str, kind: FieldKind) -> Field {
    Field { name, kind, nullable: true }
}

macro_rules! types {
    ($($constant:ident = $name:literal, $plural:literal: [$($field:expr),* $(,)?];)*) => {$(
        #[doc = concat!("`", $name, "`")]
        pub static $constant: Type = Type { name: $name, plural: $plural, fields: &[$($field),*] };
    )*};
}

types! {
    ROOTLINK = "rootlink", "rootlinks": [
        field("name", Text),
    ];
    SPEC = "spec", "specs": [
        field("path", Text),
        field("type", Text),
        field("plural", Text),
        field("type_spec", Json),
    ];
    BUILDER = "builder", "builders": [
        field("builderid", Int),
        field("name", Text),
        field("masterids", List(&Int)),
        optional("description", Text),
        optional("description_format", Text),
        optional("description_html", Text),
        optional("projectid", Int),
        field("tags", List(&Text)),
    ];
    FORCESCHEDULER = "forcescheduler", "forceschedulers": [
        field("name", Identifier),
        field("button_name", Text),
        field("label", Text),
        field("builder_names", List(&Identifier)),
        field("enabled", Bool),
        field("all_fields", List(&Json)),
    ];
    BUILDREQUEST = "buildrequest", "buildrequests": [
        field("buildrequestid", Int),
        field("buildsetid", Int),
        field("builderid", Int),
        field("priority", Int),
        field("claimed", Bool),
        optional("claimed_at", Time),
        optional("claimed_by_masterid", Int),
        field("complete", Bool),
        optional("results", Int),
        field("submitted_at", Time),
        optional("complete_at", Time),
        field("waited_for", Bool),
        optional("properties", Properties),
    ];
    BUILD = "build", "builds": [
        field("buildid", Int),
        field("number", Int),
        field("builderid", Int),
        field("buildrequestid", Int),
        field("workerid", Int),
        field("masterid", Int),
        field("started_at", Time),
        field("complete", Bool),
        optional("complete_at", Time),
        field("locks_duration_s", Int),
        optional("results", Int),
        field("state_string", Text),
        optional("properties", Properties),
    ];
    PATCH = "patch", "": [
        field("patchid", Int),
        field("body", Binary),
        field("level", Int),
        field("subdir", Text),
        field("author", Text),
        field("comment", Text),
    ];
    SOURCESTAMP = "sourcestamp", "sourcestamps": [
        field("ssid", Int),
        optional("revision", Text),
        optional("branch", Text),
        field("repository", Text),
        field("project", Text),
        field("codebase", Text),
        optional("patch", Entity(&PATCH)),
        field("created_at", Time),
    ];
    CHANGE = "change", "changes": [
        field("changeid", Int),
        field("parent_changeids", List(&Int)),
        field("author", Text),
        field("committer", Text),
        field("files", List(&Text)),
        field("comments", Text),
        optional("revision", Text),
        field("when_timestamp", Int),
        optional("branch", Text),
        optional("category", Text),
        optional("revlink", Text),
        field("properties", Properties),
        field("repository", Text),
        field("project", Text),
        field("codebase", Text),
        field("sourcestamp", Entity(&SOURCESTAMP)),
    ];
    SOURCEDPROPERTIES = "sourcedproperties", "properties": [
    ];
    URL = "Url", "": [
        field("name", Text),
        field("url", Text),
    ];
    STEP = "step", "steps": [
        field("stepid", Int),
        field("number", Int),
        field("name", Identifier),
        field("buildid", Int),
        optional("started_at", Time),
        optional("locks_acquired_at", Time),
        field("complete", Bool),
        optional("complete_at", Time),
        optional("results", Int),
        field("state_string", Text),
        field("urls", List(&Entity(&URL))),
        field("hidden", Bool),
    ];
    LOG = "log", "logs": [
        field("logid", Int),
        field("name", Text),
        field("slug", Identifier),
        field("stepid", Int),
        field("complete", Bool),
        field("num_lines", Int),
        field("type", Identifier),
    ];
    LOGCHUNK = "logchunk", "logchunks": [
        field("logid", Int),
        field("firstline", Int),
        field("content", Text),
    ];
    MASTER = "master", "masters": [
        field("masterid", Int),
        field("name", Text),
        field("active", Bool),
        field("last_active", Time),
    ];
    MASTER_ID = "master_id", "": [
        field("masterid", Int),
    ];
    MASTER_BUILDER = "master_builder", "": [
        field("masterid", Int),
        field("builderid", Int),
    ];
    WORKER = "worker", "workers": [
        field("workerid", Int),
        field("name", Text),
        field("connected_to", List(&Entity(&MASTER_ID))),
        field("configured_on", List(&Entity(&MASTER_BUILDER))),
        field("workerinfo", Json),
        field("paused", Bool),
        optional("pause_reason", Text),
        field("graceful", Bool),
    ];
    PROPERTY = "_property", "_properties": [
        field("name", Text),
        field("source", Text),
        field("value", Json),
    ];
    BUILDSET = "buildset", "buildsets": [
        field("bsid", Int),
        optional("external_idstring", Text),
        field("reason", Text),
        optional("rebuilt_buildid", Int),
        field("submitted_at", Int),
        field("complete", Bool),
        optional("complete_at", Int),
        optional("results", Int),
        field("sourcestamps", List(&Entity(&SOURCESTAMP))),
        optional("parent_buildid", Int),
        optional("parent_relationship", Text),
    ];
    CHANGESOURCE = "changesource", "changesources": [
        field("changesourceid", Int),
        field("name", Text),
        optional("master", Entity(&MASTER)),
    ];
    SCHEDULER = "scheduler", "schedulers": [
        field("schedulerid", Int),
        field("name", Text),
        field("enabled", Bool),
        optional("master", Entity(&MASTER)),
    ];
    PROJECT = "project", "projects": [
        field("projectid", Int),
        field("name", Identifier),
        field("slug", Identifier),
        optional("active", Bool),
        optional("description", Text),
        optional("description_format", Text),
        optional("description_html", Text),
    ];
    CODEBASE = "codebase", "codebases": [
        field("codebaseid", Int),
        field("projectid", Int),
        field("name", Identifier),
        field("slug", Identifier),
    ];
    COMMIT = "commit", "commits": [
        field("commitid", Int),
        field("codebaseid", Int),
        field("author", Text),
        optional("committer", Text),
        field("comments", Text),
        field("when_timestamp", Int),
        field("revision", Text),
        optional("parent_commitid", Int),
    ];
    COMMIT_GRAPH = "commit_graph", "commit_graphs": [
        field("common", Int),
        field("to1", List(&Int)),
        field("to2", List(&Int)),
    ];
    BRANCH = "branch", "branches": [
        field("branchid", Int),
        field("codebaseid", Int),
        field("name", Text),
        field("commitid", Int),
        field("last_timestamp", Int),
    ];
    BUILD_DATA = "build_data", "build_data": [
        field("buildid", Int),
        field("name", Text),
        field("length", Int),
        optional("value", Binary),
        field("source", Text),
    ];
    TEST_RESULT_SET = "test_result_set", "test_result_sets": [
        field("test_result_setid", Int),
        field("builderid", Int),
        field("buildid", Int),
        field("stepid", Int),
        optional("description", Text),
        field("category", Text),
        field("value_unit", Text),
        optional("tests_passed", Int),
        optional("tests_failed", Int),
        field("complete", Bool),
    ];
    TEST_RESULT = "test_result", "test_results": [
        field("test_resultid", Int),
        field("builderid", Int),
        field("test_result_setid", Int),
        optional("test_name", Text),
        optional("test_code_path", Text),
        optional("line", Int),
        optional("duration_ns", Int),
        field("value", Text),
    ];
}
