//! Secrets where the master itself needs them.

use std::os::unix::fs::PermissionsExt;

use muster_tests::{Master, Postgres, Results, Site, until};
use serde_json::json;

/// A server that asks one of its users for a password.
fn guarded(user: &str, password: &str) -> Postgres {
    let mut server = Postgres::start();
    let make = format!("CREATE USER {user} PASSWORD '{password}'; ALTER DATABASE buildbot OWNER TO {user}");
    server.sql("postgres", &make);
    server.kill();
    let rules = format!("local all all trust\nhost all {user} all scram-sha-256\nhost all all all trust\n");
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.launch();
    server
}

#[test]
fn the_password_of_the_database_may_be_a_secret() {
    let site = Site::new();
    let server = guarded("ann", "s3cret-and-right");
    std::fs::create_dir(site.path("secrets")).unwrap();
    let keep = |password: &str| {
        let file = site.write("secrets/db", &format!("{password}\n"));
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    keep("s3cret-and-right");
    let config = format!(
        "from buildbot.plugins import secrets\n\
         c['secretsProviders'] = [secrets.SecretInAFile('{}')]\n\
         c['db'] = {{'db_url': util.Interpolate('postgresql://ann:%(secret:db)s@127.0.0.1:{}/buildbot')}}\n\
         builder('good', sh('true'))\n",
        site.path("secrets").display(),
        server.port,
    );
    let mut master = Master::new(&site, &config);
    assert!(master.run("upgrade-master").status.success());
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("good", json!({}));
    rest.built(request, Results::Success);
    assert!(master.stop().success());

    keep("s3cret-but-wrong");
    let refused = master.run("master").said;
    assert!(refused.contains("password") && refused.contains("db_url"), "{refused}");
    std::fs::remove_file(site.path("secrets/db")).unwrap();
    let missing = master.run("upgrade-master").said;
    assert!(missing.contains("secret") && missing.contains("db_url"), "{missing}");
    let log = std::fs::read_to_string(master.path("muster.log")).unwrap();
    for said in [refused, missing, log] {
        assert!(!said.contains("s3cret"), "{said}");
    }
}

/// A command that shows its secret: whole, in part, and on the other stream.
const TALKATIVE: &str = "
from buildbot.plugins import secrets
c['secretsProviders'] = [secrets.SecretInAFile(SITE + '/secrets')]
builder('talks', sh('echo \"$KEY\"; echo \"$KEY\" | tail -n 1; echo \"$KEY\" >&2; echo over', name='talk',
                    env={'KEY': util.Secret('key')}))
";

#[test]
fn a_secret_of_several_lines_does_not_show_in_logs() {
    let site = Site::new();
    std::fs::create_dir(site.path("secrets")).unwrap();
    let key = site.write("secrets/key", "-----BEGIN KEY-----\nc2VjcmV0IG9uZQ==\nc2VjcmV0IHR3bw==\n");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut master = Master::new(&site, TALKATIVE);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let build = rest.built(rest.force("talks", json!({})), Results::Success);
    let lines = ['o', 'e', 'h'].map(|stream| rest.lines(build, "talk", stream));
    assert_eq!(lines[0].last().map(String::as_str), Some("over"), "{lines:?}");
    let shown = lines.concat().join("\n");
    assert!(shown.contains("<key>") && !shown.contains("c2VjcmV0"), "{shown}");
    assert!(master.stop().success());
}

/// One step takes a secret along, a later one shows it.
const CARRIED: &str = "
from buildbot.plugins import secrets
c['secretsProviders'] = [secrets.SecretInAFile(SITE + '/secrets')]
builder('carries', sh('echo \"$KEY\" > kept', name='keep', env={'KEY': util.Secret('key')}),
        sh('echo begun; ' + gate('gate') + '; cat kept; echo over', name='show'))
";

#[test]
fn a_secret_of_an_earlier_step_stays_concealed_when_the_build_is_gone_on_with() {
    let site = Site::new();
    std::fs::create_dir(site.path("secrets")).unwrap();
    let key = site.write("secrets/key", "c2VjcmV0\n");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut master = Master::new(&site, CARRIED);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("carries", json!({}));
    let build = rest.running_build(request);
    rest.wait_for_line(build, "show", "begun");
    master.kill();
    master.start();
    site.write("gate", "");
    assert_eq!(rest.built(request, Results::Success), build);
    assert_eq!(rest.lines(build, "show", 'o'), ["begun", "<key>", "over"]);
    assert!(master.stop().success());
}

/// Everything that a build can show its secret by.
const LEAKS: &str = "
from buildbot.plugins import secrets
c['secretsProviders'] = [secrets.SecretInAFile(SITE + '/secrets')]
c['logCompressionMethod'] = 'raw'
TOKEN = util.Secret('token')
SAID = util.Interpolate('it is %(secret:token)s')


@util.renderer
def raises(props):
    with open(SITE + '/secrets/token') as file:
        raise ValueError('bad: ' + file.read())


@util.renderer
def answers(props):
    with open(SITE + '/secrets/token') as file:
        return 'say ' + file.read()


builder('leaks',
    steps.SetPropertyFromCommand(name='plain', command=['sh', '-c', 'printf \"in $0\"', TOKEN], property='a'),
    steps.SetPropertyFromCommand(
        name='extract', command='echo $T; echo $T >&2', env={'T': TOKEN},
        extract_fn=lambda rc, out, err: {'b': out.strip(), 'nested': [{err.strip(): err.strip()}]}),
    steps.SetProperty(property='c', value=TOKEN),
    steps.SetProperties(properties={'d': SAID}),
    sh('printf tok-47; sleep 0.2; printf 11-tok; echo; ' + 'head -c 4090 /dev/zero | tr \"\\\\0\" x; echo $T', name=SAID, env={'T': TOKEN},
       description=SAID, descriptionDone=SAID, descriptionSuffix=SAID),
    steps.ShellCommand(command=['echo', answers], name='answered', logEnviron=False),
    steps.ShellCommand(command=['echo', raises], name='raised', haltOnFailure=False, alwaysRun=True),
    sh(gate('go'), name='gate', alwaysRun=True, description=SAID))
";

#[test]
fn no_secret_is_shown_on_any_way() {
    let site = Site::new();
    std::fs::create_dir(site.path("secrets")).unwrap();
    let token = site.write("secrets/token", "tok-4711-tok");
    std::fs::set_permissions(token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut master = Master::new(&site, LEAKS);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("leaks", json!({}));
    let build = rest.running_build(request);
    until("the last step runs", || {
        rest.steps(build).last().is_some_and(|step| step["name"] == "gate").then_some(())
    });
    let nothing_shows = |when: &str, master: &mut Master| {
        let files = std::fs::read_dir(master.dir()).unwrap().flatten().map(|entry| entry.path());
        for file in files.filter(|file| file.is_file() && !file.ends_with("master.cfg")) {
            let bytes = std::fs::read(&file).unwrap();
            let shows = bytes.windows(12).any(|part| part == b"tok-4711-tok");
            assert!(!shows, "{when}: {}", file.display());
        }
        assert!(!master.process().said().contains("tok-4711-tok"), "{when}");
    };
    nothing_shows("while it runs", &mut master);
    site.write("go", "");
    rest.built(request, Results::Exception);
    nothing_shows("in the end", &mut master);
    let property = |name: &str| rest.property(build, name);
    assert_eq!(
        (property("a"), property("b"), property("c")),
        (json!("in <token>"), json!("<token>"), json!("<token>"))
    );
    assert_eq!(
        (property("d"), property("nested")),
        (json!("it is <token>"), json!([{"<token>": "<token>"}]))
    );
    let said = rest.step(build, "it is <token>");
    assert!(said["state_string"].as_str().unwrap().starts_with("it is <token>"), "{said}");
    assert_eq!(rest.lines(build, "it is <token>", 'o')[0], "<token>");
    let raised = rest.step(build, "raised");
    assert_eq!(raised["results"], json!(4), "{raised}");
    assert!(master.stop().success());
}
