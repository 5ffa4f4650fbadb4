//! The decisions of Buildbot 4.3.0, as recorded, and those that Muster adds.

use serde_json::Value;

use super::*;

fn recorded() -> Value {
    let text = std::fs::read_to_string(muster_golden::recorded("authz.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn actor(user: &Value) -> Actor {
    let text = |name: &str| user[name].as_str().map(str::to_owned);
    let groups = user["groups"].as_array().into_iter().flatten();
    match user {
        Value::Null => Actor::Nobody,
        _ => Actor::User(User {
            username: text("username"),
            full_name: None,
            email: text("email"),
            groups: groups.map(|group| group.as_str().unwrap().to_owned()).collect(),
        }),
    }
}

/// What the recorded program knew: two builds, of which the first has an owner, and one force scheduler with two builders.
fn asked(request: &Value) -> (Action, Target) {
    let (path, method, options) = (request[0].as_str().unwrap(), request[1].as_str().unwrap(), &request[2]);
    let target = match path {
        "builds/10" => Target::build("linux-a".to_owned(), Some("alice@example.org".to_owned())),
        "builds/11" => Target::build("mac [b]".to_owned(), None),
        "builds/99" => Target::of(TargetKind::Build),
        "forceschedulers/force" => {
            let mut builders = vec!["linux-a".to_owned(), "mac [b]".to_owned()];
            if options["builderid"] == "2" {
                builders.remove(0);
            }
            if let Some(names) = options["builderNames"].as_array() {
                builders.retain(|name| names.iter().any(|wanted| wanted == name));
            }
            Target { builders, ..Target::of(TargetKind::ForceScheduler) }
        }
        "forceschedulers/nosuch" => Target::of(TargetKind::ForceScheduler),
        path if path.starts_with("schedulers/") => Target::of(TargetKind::Scheduler),
        _ => Target::default(),
    };
    let action = match (path.split('/').next().unwrap(), method) {
        (_, "GET" | "get") => Action::Get,
        (_, "HEAD") => Action::Head,
        ("builds", "stop") => Action::StopBuild,
        ("builds", "rebuild") => Action::RebuildBuild,
        ("forceschedulers", "force") => Action::Force,
        ("schedulers", "enable") => Action::EnableScheduler,
        ("buildrequests", "cancel") => Action::CancelRequest,
        ("buildrequests", "set_priority") => Action::SetPriority,
        ("workers", "pause") => Action::PauseWorker,
        ("workers", "unpause") => Action::UnpauseWorker,
        (_, other) => Action::Other(other.to_owned()),
    };
    (action, target)
}

#[test]
fn decisions_are_buildbots() {
    let recorded = recorded();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let (users, requests) = (list(&recorded["users"]), list(&recorded["requests"]));
    for case in list(&recorded["cases"]) {
        let authz: Authz = serde_json::from_value(case["authz"].clone()).unwrap();
        let policy = Policy::new(&authz).unwrap();
        for (user, denied) in users.iter().zip(list(&case["denied"])) {
            for (request, denied) in requests.iter().zip(list(&denied)) {
                let (action, target) = asked(request);
                let decided = policy.may(&actor(user), action, &target);
                let decided = decided.err().map(|denied| denied.to_string());
                assert_eq!(decided.as_deref(), denied.as_str(), "{user} {request} {}", case["authz"]);
            }
        }
    }
}

fn rule(endpoints: Endpoints, role: &str) -> Rule {
    Rule { endpoints, builder: None, role: role.to_owned(), default_deny: true }
}

#[test]
fn what_ends_processes_needs_a_log_in_and_a_rule() {
    let bob = Actor::User(User { username: Some("bob".to_owned()), ..User::default() });
    let usernames =
        RoleSource::Usernames { usernames: vec!["bob".to_owned()], roles: vec!["admins".to_owned()] };
    let policy = |rules: Vec<Rule>| {
        Policy::new(&Authz { rules, roles: vec![usernames.clone()], strings: StringsMatcher::Glob }).unwrap()
    };
    let (open, closed) = (policy(Vec::new()), policy(vec![rule(Endpoints::AnyControl, "admins")]));
    let lenient = policy(vec![Rule { default_deny: false, ..rule(Endpoints::AnyControl, "nobody") }]);
    for action in [Action::StopWorker, Action::KillWorker, Action::StopMaster] {
        let may = |policy: &Policy, actor: &Actor| policy.may(actor, action.clone(), &Target::default());
        assert_eq!(may(&open, &Actor::Nobody), Err(Denied::EndsProcesses));
        assert_eq!(may(&open, &bob), Err(Denied::EndsProcesses));
        assert_eq!(may(&lenient, &bob), Err(Denied::EndsProcesses), "no rule has let bob through");
        assert_eq!(may(&closed, &Actor::Nobody), Err(Denied::Role("admins".to_owned())));
        assert_eq!(may(&closed, &bob).unwrap().actor(), &bob);
        for other in [Actor::Operator, Actor::CommandLine, Actor::System("a test")] {
            assert!(may(&closed, &other).is_ok());
        }
    }
}

#[test]
#[should_panic(expected = "a permit for Get was used for StopBuild")]
fn a_permit_is_for_one_action() {
    Permit::system("a test", Action::Get).must_be_for(&Action::StopBuild);
}

#[test]
fn patterns_that_cannot_be_used_are_refused() {
    let authz =
        Authz { rules: vec![rule(Endpoints::Any, "(")], strings: StringsMatcher::Regex, ..Authz::default() };
    assert!(Policy::new(&authz).is_err());
}

#[test]
fn globs_are_pythons() {
    let fits = |pattern: &str, text: &str| {
        text::Text::new(StringsMatcher::Glob, pattern).unwrap().matches(text, false)
    };
    for (pattern, text, fitting) in [
        ("", "", true),
        ("*", "", true),
        ("**", "a\nb", true),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abcd", false),
        ("?", "ä", true),
        ("[!a]", "a", false),
        ("[]a]", "]", true),
        ("[!]a]", "]", false),
        ("[a-c]x", "bx", true),
        ("[", "[", true),
        ("[a", "[a", true),
        ("a[b-]", "a-", true),
        ("*.*", "a.b.c", true),
        ("A", "a", false),
    ] {
        assert_eq!(fits(pattern, text), fitting, "{pattern:?} {text:?}");
    }
}
