//! What can't be used is refused in words that help, and left as it was.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use muster_store::{Db, DbUrl, builds};
use muster_store_tests::{
    MariaDb, Postgres, Server,
    buildbot::Buildbot,
    data::{self, tx},
};
use muster_tests::{Authority, template::run};

async fn refused(url: &str) -> String {
    let url = DbUrl::parse(url, Path::new("/")).unwrap();
    let open = Db::upgrade(&url).await.err().expect("it can't be opened");
    open.to_string()
}

#[track_caller]
fn assert_says(reason: &str, words: &[&str]) {
    for word in words {
        assert!(reason.contains(word), "{word:?} is not in: {reason}");
    }
}

#[tokio::test]
async fn postgres_that_cannot_be_used() {
    let server = Postgres::start();
    let port = server.port;
    assert_says(
        &refused(&format!("postgresql://nobody@127.0.0.1:{port}/buildbot")).await,
        &["nobody", "user"],
    );
    assert_says(&refused(&server.url("missing")).await, &["missing", "createdb"]);
    assert_says(&refused("postgresql://bb@127.0.0.1:1/buildbot").await, &["127.0.0.1:1", "server up"]);
    assert_says(&refused("postgresql://bb@nowhere.invalid/buildbot").await, &["nowhere.invalid", "host"]);
    assert_says(&refused(&(server.url("buildbot") + "?sslmode=require")).await, &["TLS"]);

    server.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    assert_says(&refused(&server.url("latin")).await, &["LATIN1", "UTF8"]);

    server.sql("buildbot", "CREATE TABLE builds (mine integer)");
    assert_says(&refused(&server.url("buildbot")).await, &["\"builds\"", "nothing was changed"]);
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.sql("buildbot", tables), "builds");
}

#[tokio::test]
async fn a_password_is_asked_for_and_checked() {
    let mut server = Postgres::start();
    server.sql("postgres", "CREATE USER ann PASSWORD 'right'; ALTER DATABASE buildbot OWNER TO ann");
    server.kill();
    std::fs::write(
        server.data().join("pg_hba.conf"),
        "local all all trust\nhost all ann all scram-sha-256\nhost all all all trust\n",
    )
    .unwrap();
    server.launch();
    let url = |user: &str| format!("postgresql://{user}@127.0.0.1:{}/buildbot", server.port);
    assert_says(&refused(&url("ann:wrong")).await, &["password", "db_url"]);
    assert_says(&refused(&url("ann")).await, &["password", "MUSTER_DB_PASSWORD"]);
    let right = DbUrl::parse(&url("ann:right"), Path::new("/")).unwrap();
    Db::upgrade(&right).await.unwrap();
}

#[tokio::test]
async fn the_host_that_takes_writes_is_found_among_several() {
    let server = Postgres::start();
    let url = format!("postgresql://bb@127.0.0.1:1,127.0.0.1:{}/buildbot", server.port);
    Db::upgrade(&DbUrl::parse(&url, Path::new("/")).unwrap()).await.unwrap();
    let socket = server.data().parent().unwrap().display().to_string();
    let url = format!("postgresql://bb@:{}/buildbot?host={socket}:{}", server.port, server.port);
    Db::open(&DbUrl::parse(&url, Path::new("/")).unwrap()).await.unwrap();
}

#[tokio::test]
async fn postgres_over_tls_and_ipv6() {
    let authority = Authority::new();
    let mut server = Postgres::start();
    let identity = authority.identity("localhost");
    for (file, name) in [(&identity.certificate, "server.crt"), (&identity.key, "server.key")] {
        let copy = server.data().join(name);
        std::fs::copy(file, &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).unwrap();
        run(Command::new("chown").arg("--reference").arg(server.data()).arg(&copy));
    }
    let settings = server.data().join("postgresql.auto.conf");
    std::fs::write(settings, "ssl = on\n").unwrap();
    server.kill();
    server.listen("127.0.0.1,::1");

    let (port, trusted) = (server.port, authority.file().display().to_string());
    let url = |host: &str, ca: &str| {
        format!("postgresql://bb@{host}:{port}/buildbot?sslmode=verify-full&sslrootcert={ca}")
    };
    let db = Db::upgrade(&DbUrl::parse(&url("localhost", &trusted), Path::new("/")).unwrap()).await.unwrap();
    let used = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                WHERE ssl AND application_name = 'muster'";
    assert_eq!(server.sql("buildbot", used), "1");
    drop(db);
    assert_says(&refused(&url("127.0.0.1", &trusted)).await, &["certificate", "for this host"]);
    let stranger = Authority::new();
    let untrusted = url("localhost", &stranger.file().display().to_string());
    assert_says(&refused(&untrusted).await, &["sslrootcert"]);

    let literal = format!("postgresql://bb@[::1]:{port}/buildbot?sslmode=require");
    let db = Db::open(&DbUrl::parse(&literal, Path::new("/")).unwrap()).await.unwrap();
    let from = "SELECT DISTINCT client_addr FROM pg_stat_activity WHERE application_name = 'muster'";
    assert_eq!(server.sql("buildbot", from), "::1");
    drop(db);
}

#[tokio::test]
async fn mariadb_over_tls() {
    let authority = Authority::new();
    let mut server = MariaDb::start();
    let identity = authority.identity("localhost");
    let mut settings = vec!["--require-secure-transport=ON".to_owned()];
    let files = [(&identity.certificate, "cert"), (&identity.key, "key"), (&authority.file(), "ca")];
    for (file, name) in files {
        let copy = server.data().join(format!("{name}.pem"));
        std::fs::copy(file, &copy).unwrap();
        run(Command::new("chown").arg("--reference").arg(server.data()).arg(&copy));
        settings.push(format!("--ssl-{name}={}", copy.display()));
    }
    server.launch_with(&settings);
    server.sql("", "CREATE USER ann@'127.0.0.1' REQUIRE X509; GRANT ALL ON *.* TO ann@'127.0.0.1'");

    let (port, ca) = (server.port, authority.file().display().to_string());
    let url =
        |user: &str, host: &str, options: &str| format!("mysql://{user}@{host}:{port}/buildbot{options}");
    let parse = |url: String| DbUrl::parse(&url, Path::new("/")).unwrap();
    let bb = "bb:p%3Aw";
    let checked = |ca: &str| format!("?ssl_mode=VERIFY_IDENTITY&ssl_ca={ca}");
    Db::upgrade(&parse(url(bb, "localhost", &checked(&ca)))).await.unwrap();
    Db::open(&parse(url(bb, "127.0.0.1", &format!("?ssl_mode=VERIFY_CA&ssl_ca={ca}")))).await.unwrap();
    Db::open(&parse(url(bb, "127.0.0.1", "?ssl_mode=REQUIRED"))).await.unwrap();

    assert_says(&refused(&url(bb, "127.0.0.1", "")).await, &["ssl_mode=REQUIRED"]);
    let wrong_name = url(bb, "127.0.0.1", &checked(&ca));
    assert_says(&refused(&wrong_name).await, &["certificate", "for this host"]);
    let stranger = Authority::new();
    let untrusted = url(bb, "localhost", &checked(&stranger.file().display().to_string()));
    assert_says(&refused(&untrusted).await, &["certificate", "ssl_ca"]);
    assert_says(&refused(&url(bb, "localhost", &checked("/none/ca.pem"))).await, &["TLS", "/none/ca.pem"]);

    let own = authority.identity("ann");
    let with_own = format!("&ssl_cert={}&ssl_key={}", own.certificate.display(), own.key.display());
    Db::open(&parse(url("ann", "localhost", &(checked(&ca) + &with_own)))).await.unwrap();
    assert_says(&refused(&url("ann", "localhost", &checked(&ca))).await, &["Access denied", "user"]);
}

/// As people make them: `openssl req -x509` says that it is an authority, unless it is told otherwise.
fn make_own_certificate(data: &Path, more: &[&str]) -> [std::path::PathBuf; 2] {
    let [certificate, key] = ["own.crt", "own.key"].map(|name| data.join(name));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    run(command.args(more).arg("-keyout").arg(&key).arg("-out").arg(&certificate));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    run(Command::new("chown").arg("--reference").arg(data).args([&certificate, &key]));
    [certificate, key]
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_taken_when_it_is_named() {
    let mut server = Postgres::start();
    let [certificate, key] = make_own_certificate(&server.data(), &[]).map(|path| path.display().to_string());
    let settings = format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n");
    std::fs::write(server.data().join("postgresql.auto.conf"), settings).unwrap();
    server.kill();
    server.listen("127.0.0.1,::1");
    let url = format!(
        "postgresql://bb@localhost:{}/buildbot?sslmode=verify-full&sslrootcert={certificate}",
        server.port
    );
    Db::upgrade(&DbUrl::parse(&url, Path::new("/")).unwrap()).await.unwrap();
}

#[tokio::test]
async fn mariadb_says_how_its_own_certificate_is_to_be_made() {
    let mut server = MariaDb::start();
    for (more, says) in [
        (&[][..], Some("basicConstraints=critical,CA:FALSE")),
        (&["-addext", "basicConstraints=critical,CA:FALSE"][..], None),
    ] {
        let [certificate, key] =
            make_own_certificate(&server.data(), more).map(|path| path.display().to_string());
        server.launch_with(&[format!("--ssl-cert={certificate}"), format!("--ssl-key={key}")]);
        let url = format!(
            "mysql://bb:p%3Aw@localhost:{}/buildbot?ssl_mode=VERIFY_IDENTITY&ssl_ca={certificate}",
            server.port
        );
        match says {
            Some(words) => assert_says(&refused(&url).await, &[words]),
            None => drop(Db::upgrade(&DbUrl::parse(&url, Path::new("/")).unwrap()).await.unwrap()),
        }
    }
}

#[tokio::test]
async fn mariadb_that_cannot_be_used() {
    let server = MariaDb::start();
    let port = server.port;
    assert_says(
        &refused(&format!("mysql://bb:wrong@127.0.0.1:{port}/buildbot")).await,
        &["Access denied", "password"],
    );
    assert_says(&refused(&server.url("missing")).await, &["missing", "CREATE DATABASE"]);
    assert_says(&refused("mysql://bb@127.0.0.1:1/buildbot").await, &["127.0.0.1:1", "server up"]);
    server.sql("buildbot", "CREATE TABLE builds (mine integer)");
    assert_says(&refused(&server.url("buildbot")).await, &["\"builds\"", "nothing was changed"]);
    assert_eq!(server.sql("buildbot", "SHOW TABLES"), "builds");
}

#[tokio::test]
async fn sqlite_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none/state.sqlite");
    assert_says(&refused(&format!("sqlite:///{}", missing.display())).await, &["directory"]);
    let text = directory.path().join("text");
    std::fs::write(&text, "no database at all, but long enough to be looked at as one").unwrap();
    assert_says(&refused(&format!("sqlite:///{}", text.display())).await, &["something else"]);
    let closed = directory.path().join("foreign.sqlite");
    rusqlite::Connection::open(&closed).unwrap().execute_batch("CREATE TABLE users (mine)").unwrap();
    assert_says(
        &refused(&format!("sqlite:///{}", closed.display())).await,
        &["\"users\"", "nothing was changed"],
    );
}

/// What Buildbot makes on MySQL unless its URL says otherwise: MyISAM, and characters of three bytes.
#[tokio::test]
async fn tables_of_buildbots_default_engine_are_converted() {
    let server = MariaDb::start();
    let theirs = server.url("buildbot").replace("mysql://", "mysql+pymysql://");
    Buildbot::new(&theirs).upgrade();
    let reason = refused(&server.url("buildbot")).await;
    assert_says(
        &reason,
        &["MyISAM", "upgrade-master --convert", "ALTER TABLE builds ENGINE=InnoDB;", "43 tables"],
    );
    assert_eq!(server.sql("buildbot", "SHOW TABLES LIKE 'muster%'"), "");

    let url = server.db_url("buildbot");
    let mut told = Vec::new();
    Db::convert(&url, |statement, done, all| told.push((statement.to_owned(), done, all))).await.unwrap();
    assert_eq!((told[0].1, told[0].2), (1, told.len()));
    assert_eq!(told.iter().filter(|(statement, ..)| statement.ends_with("ENGINE=InnoDB")).count(), 43);
    Db::convert(&url, |statement, _, _| panic!("{statement} again")).await.unwrap();
    let db = Db::upgrade(&url).await.unwrap();
    assert_eq!(state_of_a_build(&db, "done 😀").await, "done 😀");
}

#[tokio::test]
async fn no_write_fails_for_characters_that_old_columns_cannot_hold() {
    let server = MariaDb::start();
    let theirs = server.url("buildbot").replace("mysql://", "mysql+pymysql://") + "?storage_engine=InnoDB";
    Buildbot::new(&theirs).upgrade();
    let db = Db::upgrade(&server.db_url("buildbot")).await.unwrap();
    assert_eq!(state_of_a_build(&db, "done 😀 é 中").await, "done \u{fffd} é 中");
}

#[tokio::test]
async fn a_character_set_that_cannot_hold_every_text_is_refused() {
    let server = MariaDb::start();
    let url = server.db_url("buildbot");
    drop(Db::upgrade(&url).await.unwrap());
    server.sql("buildbot", "ALTER TABLE workers CONVERT TO CHARACTER SET latin1");
    let reason = Db::open(&url).await.err().expect("it is refused").to_string();
    assert_says(
        &reason,
        &["character set", "ALTER TABLE workers CONVERT TO CHARACTER SET utf8mb4;", "--convert"],
    );
    Db::convert(&url, |_, _, _| {}).await.unwrap();
    Db::open(&url).await.unwrap();
}

async fn state_of_a_build(db: &Db, state: &'static str) -> String {
    let master = data::masters(db, 1).await[0];
    let (builders, worker) = data::builders(db, master, 1).await;
    let request = data::requests(db, &builders, 1).await[0];
    let builder = builders[0];
    tx(db, |tx| async move {
        let (build, _) = data::build(&tx, builder, request, worker, master).await?;
        let mut row = builds::by_id(&tx, build).await?.unwrap();
        row.state_string = state.to_owned();
        builds::update(&tx, &row).await?;
        Ok(builds::by_id(&tx, build).await?.unwrap().state_string)
    })
    .await
}
