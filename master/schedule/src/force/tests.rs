use muster_config::snapshot::{FieldKind, ForceField};
use muster_core::policy::{Action, Actor, Policy, Target, User};

use super::*;
use crate::testing::{World, scheduler, snapshot};

/// A field as the configuration gives it; `more` are attributes that differ from the usual ones.
fn field(kind: FieldKind, name: &str, full_name: &str, more: impl FnOnce(&mut ForceField)) -> ForceField {
    let mut field = ForceField {
        kind,
        name: name.into(),
        full_name: (!full_name.is_empty()).then(|| full_name.to_owned()),
        label: name.into(),
        default: "".into(),
        required: false,
        multiple: false,
        regex: None,
        maxsize: None,
        choices: Vec::new(),
        strict: false,
        need_email: false,
        codebase: None,
        fields: Vec::new(),
        spec: Map::new(),
    };
    more(&mut field);
    field
}

fn group(kind: FieldKind, name: &str, full_name: &str, fields: Vec<ForceField>) -> ForceField {
    field(kind, name, full_name, |field| field.fields = fields)
}

/// The form `force` of the golden answers.
fn golden_form() -> Vec<ForceField> {
    use FieldKind::*;
    let common = vec![
        field(UserName, "username", "username", |f| {
            f.label = "your name:".into();
            f.need_email = true;
        }),
        field(Text, "reason", "reason", |f| {
            f.label = "reason:".into();
            f.default = "because".into();
            f.required = true;
        }),
        field(Int, "priority", "priority", |f| f.default = 0.into()),
    ];
    let patch = vec![
        field(File, "body", "patch_body", |f| f.maxsize = Some(10_485_760)),
        field(Int, "level", "patch_level", |f| f.default = 1.into()),
        field(Text, "author", "patch_author", |_| {}),
        field(Text, "comment", "patch_comment", |_| {}),
        field(Text, "subdir", "patch_subdir", |f| f.default = ".".into()),
    ];
    let codebase = vec![
        field(Choice, "branch", "branch", |f| {
            f.choices = vec!["main".into(), "dev".into()];
            f.strict = true;
            f.default = "main".into();
        }),
        field(Fixed, "project", "project", |f| f.default = "demo-app".into()),
        field(Fixed, "repository", "repository", |f| f.default = "file:///srv/demo/repo".into()),
        field(Text, "revision", "revision", |_| {}),
        group(Patch, "patch", "patch", patch),
    ];
    let options = vec![
        field(Text, "pull_url", "options_pull_url", |f| {
            f.label = "optionally give a public Git pull url:".into();
            f.regex = Some("^$|^https?://".into());
        }),
        field(Bool, "force_clean", "options_force_clean", |f| f.default = false.into()),
        field(Int, "jobs", "options_jobs", |f| f.default = 4.into()),
        field(File, "upload", "options_upload", |f| f.maxsize = Some(10)),
        field(Text, "many", "options_many", |f| f.multiple = true),
    ];
    let extra = vec![field(Text, "name", "extra_name", |_| {}), field(Text, "value", "extra_value", |_| {})];
    vec![
        group(Nested, "", "", common),
        field(Codebase, "", "", |f| {
            f.codebase = Some(String::new());
            f.fields = codebase;
        }),
        group(Nested, "options", "options", options),
        field(WorkerChoice, "workername", "workername", |_| {}),
        group(AnyProperty, "extra", "extra", extra),
    ]
}

fn golden_scheduler() -> SchedulerConfig {
    let form = ForceConfig {
        button_name: "Force it".into(),
        label: "Force label".into(),
        reason_string: "A build was forced by '%(owner)s': %(reason)s".into(),
        fields: golden_form(),
    };
    let mut scheduler = scheduler("forcesched.ForceScheduler", SchedulerKind::Force(form));
    scheduler.name = "force".into();
    let empty = || Some(String::new());
    let defaults = CodebaseDefaults { branch: empty(), revision: empty(), ..CodebaseDefaults::default() };
    scheduler.codebases = BTreeMap::from([(String::new(), defaults)]);
    scheduler
}

fn permit(owner: Option<&str>) -> Permit {
    let user = |owner: &str| Actor::User(User { username: Some(owner.to_owned()), ..User::default() });
    let actor = owner.map_or(Actor::Nobody, user);
    Policy::default().may(&actor, Action::Force, &Target::default()).unwrap()
}

async fn force_with(world: &World, owner: Option<&str>, params: Value) -> Result<AddedBuildset, ForceError> {
    let Value::Object(params) = params else { panic!("parameters are an object") };
    let snapshot = snapshot(vec![golden_scheduler()], Vec::new());
    force(&world.data, &snapshot, &permit(owner), "force", params).await
}

#[tokio::test]
async fn the_patterns_of_the_configuration_hold_for_what_people_enter() {
    use muster_config::snapshot::ValidationConfig;

    let world = World::new().await;
    let pattern = |text: &str| Some(text.to_owned());
    let mut snapshot = Snapshot::clone(&snapshot(vec![golden_scheduler()], Vec::new()));
    snapshot.validation = ValidationConfig {
        branch: pattern("^dev$"),
        revision: pattern("^[0-9]+$"),
        property_name: pattern("(?i:ok_[a-z]+$)"),
        property_value: pattern("^[0-9]+\\Z"),
    };
    let refused = async |params: Value| {
        let Value::Object(mut params) = params else { panic!("parameters are an object") };
        params.insert("username".to_owned(), "a@b.c".into());
        params.insert("reason".to_owned(), "r".into());
        match force(&world.data, &snapshot, &permit(None), "force", params).await {
            Ok(_) => BTreeMap::new(),
            Err(ForceError::Fields(errors)) => errors,
            Err(other) => panic!("{other:?}"),
        }
    };
    let good = json!({"branch": "dev", "revision": "12", "extra_name": "OK_a", "extra_value": "7"});
    assert_eq!(refused(good.clone()).await, BTreeMap::new());
    for (field, value, told) in [
        ("branch", "main", "bad branch 'main'"),
        ("revision", "1a", "bad revision '1a'"),
        ("extra_name", "bad", "bad property name='bad', value='7'"),
        ("extra_value", "x", "bad property name='OK_a', value='x'"),
        ("extra_value", "7\n", "bad property name='OK_a', value='7\n'"),
    ] {
        let mut params = good.clone();
        params[field] = value.into();
        let errors = refused(params).await;
        assert_eq!(errors.values().map(String::as_str).collect::<Vec<_>>(), [told], "{field}");
    }
    snapshot.validation.branch = pattern("(x");
    assert_eq!(unusable_patterns(&snapshot).len(), 1);
}

async fn errors_of(params: Value) -> BTreeMap<String, String> {
    match force_with(&World::new().await, None, params).await {
        Err(ForceError::Fields(errors)) => errors,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn refusals_have_buildbots_texts() {
    let errors = errors_of(json!({
        "branch": "zzz", "options_jobs": "many", "options_pull_url": "ftp://x", "username": "nomail",
        "options_upload": "12345678901", "extra_name": "a b",
    }))
    .await;
    let expected = [
        ("branch", "'zzz' does not belong to list of available choices '['main', 'dev']'"),
        ("extra", "bad property name='a b', value=''"),
        ("options_jobs", "invalid literal for int() with base 10: 'many'"),
        (
            "options_pull_url",
            "optionally give a public Git pull url::'ftp://x' does not match pattern '^$|^https?://'",
        ),
        ("options_upload", "upload: is too large 11 > 10"),
        ("reason", "'reason:' needs to be specified"),
        ("username", "username: please fill in email address in the form 'User <email@email.com>'"),
    ];
    assert_eq!(errors, expected.into_iter().map(|(field, text)| (field.into(), text.into())).collect());
}

#[tokio::test]
async fn a_blank_value_is_none() {
    assert_eq!(errors_of(json!({"reason": "  "})).await.keys().collect::<Vec<_>>(), ["reason"]);
}

#[tokio::test]
async fn a_filled_form_becomes_a_buildset() {
    let world = World::new().await;
    let added = force_with(
        &world,
        None,
        json!({
            "username": "Dev <dev@example.org>", "reason": ["it's time"], "priority": "5", "branch": "dev",
            "revision": "abc", "options_force_clean": true, "options_jobs": 8, "options_many": ["x", "y"],
            "workername": "-any-", "extra_name": "free", "extra_value": "yes", "nonsense": "x",
        }),
    )
    .await
    .unwrap();
    assert_eq!(added.requests.iter().map(|(builder, _)| *builder).collect::<Vec<_>>(), world.builders);

    let built = world.buildsets().await.remove(0);
    assert_eq!(built.reason, "A build was forced by 'Dev <dev@example.org>': it's time");
    assert_eq!(built.priorities, [5, 5]);
    let source = &built.sources[0];
    assert_eq!((source.branch.as_deref(), source.revision.as_deref()), (Some("dev"), Some("abc")));
    assert_eq!((source.repository.as_str(), source.project.as_str()), ("file:///srv/demo/repo", "demo-app"));
    assert!(source.patch.is_none());
    let property = |name: &str| {
        built.properties.get_with_source(name).map(|p| (p.value().clone(), p.source().to_owned()))
    };
    let form = |value: Value| Some((value, FORM.to_owned()));
    assert_eq!(property("owner"), form(json!("Dev <dev@example.org>")));
    assert_eq!(property("reason"), form(json!("it's time")));
    assert_eq!(property("free"), form(json!("yes")));
    assert_eq!(
        property("options"),
        form(json!({"pull_url": "", "force_clean": true, "jobs": 8, "upload": "", "many": ["x", "y"]}))
    );
    assert_eq!(property("workername"), None);
    assert_eq!(property("scheduler"), Some((json!("force"), "Scheduler".into())));
}

#[tokio::test]
async fn defaults_fill_what_is_not_given_and_the_log_in_wins_over_the_form() {
    let world = World::new().await;
    force_with(&world, Some("me@example.org"), json!({"reason": "r", "username": "nomail"})).await.unwrap();
    force_with(&world, Some("anonymous"), json!({"reason": "r"})).await.unwrap();
    let built = world.buildsets().await;
    assert_eq!(built[0].properties.get("owner"), Some(&json!("me@example.org")));
    assert_eq!(built[1].properties.get("owner"), Some(&json!("")));
    assert_eq!(built[0].sources[0].branch.as_deref(), Some("main"));
    assert_eq!(built[0].sources[0].revision.as_deref(), Some(""));
}

#[tokio::test]
async fn a_patch_comes_along_with_its_codebase() {
    let world = World::new().await;
    let params =
        json!({"reason": "r", "patch_body": "--- a\n+++ b\n", "patch_level": "2", "patch_author": "me"});
    force_with(&world, None, params).await.unwrap();
    let patch = world.buildsets().await[0].sources[0].patch.clone().unwrap();
    assert_eq!(
        (patch.body.as_slice(), patch.level, patch.author.as_str()),
        (&b"--- a\n+++ b\n"[..], 2, "me")
    );
    assert_eq!(patch.subdir.as_deref(), Some("."));
}

#[tokio::test]
async fn builders_are_chosen_by_name_or_id_among_the_schedulers() {
    let world = World::new().await;
    let chosen = async |params: Value| {
        let Value::Object(mut params) = params else { panic!("parameters are an object") };
        params.insert("reason".into(), "r".into());
        force_with(&world, None, params.into()).await.map(|added| added.requests.len())
    };
    assert_eq!(chosen(json!({"builderNames": ["b", "zzz"]})).await.unwrap(), 1);
    assert_eq!(chosen(json!({"builderid": world.builders[0].0})).await.unwrap(), 1);
    assert_eq!(chosen(json!({"builderid": world.builders[0].0.to_string()})).await.unwrap(), 1);
    for refused in [json!({"builderNames": ["zzz"]}), json!({"builderid": 999}), json!({"builderid": "x"})] {
        let error = chosen(refused).await.unwrap_err();
        assert_eq!(error.to_string(), "builderNames not specified or not supported");
    }
}

#[tokio::test]
async fn only_force_schedulers_can_be_forced() {
    let world = World::new().await;
    let other = scheduler("triggerable.Triggerable", SchedulerKind::Triggerable { reason: None });
    let snapshot = snapshot(vec![other], Vec::new());
    for name in ["s", "nobody"] {
        let error = force(&world.data, &snapshot, &permit(None), name, Map::new()).await.unwrap_err();
        assert!(matches!(error, ForceError::UnknownScheduler(_)), "{error}");
    }
}

#[test]
fn the_description_is_rests() {
    let mut scheduler = golden_scheduler();
    if let SchedulerKind::Force(form) = &mut scheduler.kind {
        form.fields.truncate(1);
        form.fields[0].spec.insert("type".into(), "nested".into());
        form.fields[0].fields.truncate(1);
        form.fields[0].fields[0].spec.insert("type".into(), "username".into());
    }
    assert_eq!(
        force_spec(&scheduler, true).unwrap(),
        json!({
            "all_fields": [{"type": "nested", "fields": [{"type": "username"}]}],
            "builder_names": ["a", "b", "nobody"],
            "button_name": "Force it",
            "enabled": true,
            "label": "Force label",
            "name": "force",
        })
    );
}
