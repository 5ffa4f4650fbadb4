//! Every aggregate does the same on every engine.

use muster_core::{
    BuildId, LogKind, MasterId, Properties, Property, Results, StepUrl, Timestamp, hash::name_hash,
};
use muster_store::{
    Db, Error, Result, builders, builds,
    buildsets::{self, BuildsetRow},
    changes::{self, ChangeRow},
    chunks::{self, Compression},
    control,
    locks::{self, LockClaim},
    masters,
    query::{self, Op, Select},
    regroup,
    runs::{self, JournalRow},
    schedulers,
    sourcestamps::{self, NewPatch, NewSourceStamp},
    state::{self, StateKey},
    steps, views,
    workers::{self, Dial, DialOutcome},
};
use muster_store_tests::data::{self, NOW, claim, tx};

use crate::engines::{Ground, on_every_engine};

on_every_engine!(
    named_rows_are_found_again,
    builders_carry_what_their_configuration_says,
    workers_come_and_go,
    sessions_are_won_by_the_highest_dial,
    crate::absences::absences_follow_the_connections,
    crate::cluster::leases_and_schedulers_have_one_owner,
    crate::stock::stock_workers_have_one_connection_and_one_life,
    changes_are_classified_once,
    sourcestamps_are_one_row_for_each_version,
    requests_wait_in_their_order,
    a_claim_is_made_once,
    a_merged_set_is_claimed_whole_or_not_at_all,
    orphans_of_dead_masters_are_freed,
    a_buildset_ends_with_its_last_request,
    builds_are_numbered_and_end_once,
    properties_keep_their_json,
    steps_and_logs_are_kept_in_order,
    logs_are_read_back_in_every_compression,
    many_small_chunks_become_few,
    state_is_set_and_read,
    orders_are_kept_until_done,
    locks_queue_in_order,
    runs_are_fenced_by_owner_and_epoch,
    journals_are_replayed_in_order,
    crate::transactions::statistics_count_commits,
    crate::transactions::an_error_leaves_nothing_behind,
    crate::transactions::what_waits_and_fails_is_not_forgotten,
    crate::transactions::queries_that_are_joined_answer_in_their_order,
    crate::transactions::only_transactions_write,
    every_list_can_be_filtered_and_ordered,
    the_pages_questions_are_answered,
    text_of_every_kind_comes_back,
);

async fn named_rows_are_found_again(ground: &Ground) {
    let db = &ground.db;
    let first = tx(db, |tx| async move { masters::find_or_create(&tx, "häst:/srv/master").await }).await;
    let again = tx(db, |tx| async move { masters::find_or_create(&tx, "häst:/srv/master").await }).await;
    assert_eq!(first, again);
    tx(db, |tx| async move { masters::set_active(&tx, first, true, NOW).await }).await;
    let master = tx(db, |tx| async move { masters::by_id(&tx, first).await }).await.unwrap();
    assert_eq!((master.name.as_str(), master.active, master.last_active), ("häst:/srv/master", true, NOW));
    tx(db, |tx| async move { masters::forget_configuration(&tx, first).await }).await;
}

async fn builders_carry_what_their_configuration_says(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let info = builders::BuilderInfo {
        name: "linux".to_owned(),
        description: Some("all of it".to_owned()),
        description_format: Some("markdown".to_owned()),
        description_html: Some("<p>all of it</p>".to_owned()),
        project: Some("proj".to_owned()),
        tags: vec!["b".to_owned(), "a".to_owned()],
    };
    let id = tx(db, |tx| {
        let info = info.clone();
        async move { builders::configure(&tx, master, &info).await }
    })
    .await;
    let again = tx(db, |tx| {
        let info = info.clone();
        async move { builders::configure(&tx, master, &info).await }
    })
    .await;
    assert_eq!(id, again);
    let builder = tx(db, |tx| async move {
        let id = builders::by_name(&tx, "linux").await?.unwrap();
        query::builders::by_id(&tx, id).await
    })
    .await
    .unwrap();
    assert_eq!(builder.tags, ["b", "a"]);
    assert_eq!(builder.masters, [master]);
    assert_eq!(builder.description.as_deref(), Some("all of it"));
    assert_eq!(builder.description_html.as_deref(), Some("<p>all of it</p>"));
    let project = builder.project.unwrap();
    let project = tx(db, |tx| async move { query::projects::by_id(&tx, project).await }).await.unwrap();
    assert_eq!((project.name.as_str(), project.slug.as_str()), ("proj", "proj"));
    let described = tx(db, |tx| async move {
        let [name, slug] = ["proj", "short"].map(str::to_owned);
        let info = builders::ProjectInfo { name, slug, ..builders::ProjectInfo::default() };
        builders::describe_project(&tx, &info).await?;
        query::projects::by_id(&tx, project.id).await
    });
    assert_eq!(described.await.unwrap().slug, "short");
    assert_eq!(
        tx(db, |tx| async move { builders::of_master(&tx, master).await }).await,
        [(id, "linux".to_owned())]
    );
    tx(db, |tx| async move { builders::remove_from_master(&tx, master, id).await }).await;
    assert_eq!(tx(db, |tx| async move { builders::of_master(&tx, master).await }).await, []);
}

async fn workers_come_and_go(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let (builders, worker) = data::builders(db, master, 2).await;
    tx(db, |tx| async move {
        workers::set_graceful(&tx, worker).await?;
        workers::connected(&tx, master, &[(worker, r#"{"version": "1"}"#.to_owned())]).await?;
        let both = [r#"{"version": "2"}"#, "{}"].map(str::to_owned);
        let second = workers::find_or_create(&tx, "a second one").await?;
        workers::connected(&tx, master, &[worker, second].into_iter().zip(both).collect::<Vec<_>>()).await
    })
    .await;
    tx(db, |tx| async move { workers::set_paused(&tx, worker, true, Some("maintenance")).await }).await;
    let seen = tx(db, |tx| async move { query::workers::by_id(&tx, worker).await }).await.unwrap();
    assert_eq!(seen.info["version"], "2");
    assert!(!seen.graceful, "it has come anew");
    assert_eq!((seen.paused, seen.pause_reason.as_deref()), (true, Some("maintenance")));
    assert_eq!(seen.connected_to, [master]);
    assert_eq!(seen.configured_on, [(master, builders[0]), (master, builders[1])]);
    assert!(tx(db, |tx| async move { workers::barred(&tx).await }).await.contains(&worker));
    tx(db, |tx| async move { workers::set_paused(&tx, worker, false, None).await }).await;
    tx(db, |tx| async move { workers::set_graceful(&tx, worker).await }).await;
    tx(db, |tx| async move { workers::disconnected(&tx, master, worker).await }).await;
    let seen = tx(db, |tx| async move { query::workers::by_name(&tx, "worker").await }).await.unwrap();
    assert!(seen.graceful && seen.connected_to.is_empty());
}

async fn sessions_are_won_by_the_highest_dial(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let worker = tx(db, |tx| async move { workers::find_or_create(&tx, "dialler").await }).await;
    let other = tx(db, |tx| async move { workers::find_or_create(&tx, "other dialler").await }).await;
    let dial = |worker, boot: &str, dial_no| Dial { worker, boot_id: boot.into(), dial_no, gateway: None };
    let (won, lost) = (DialOutcome::Won, |highest| DialOutcome::Lost { highest });
    let rounds =
        [("one", 1, won), ("one", 3, won), ("one", 3, lost(3)), ("one", 2, lost(3)), ("two", 4, won)];
    for (boot, dial_no, outcome) in rounds {
        assert_eq!(win(db, &[dial(worker, boot, dial_no)], master).await, [outcome], "{boot} {dial_no}");
    }
    // Several at once, of which one is new, and one comes from an earlier life.
    let dials = [dial(other, "three", 1), dial(worker, "one", 4)];
    assert_eq!(win(db, &dials, master).await, [won, lost(4)]);
    // Who reserves numbers has those above all that were seen.
    let given =
        tx(db, |tx| async move { workers::reserve_dials(&tx, &[worker, other], 10, i64::MAX).await }).await;
    assert_eq!(given, [(worker, 14), (other, 11)].into());
    assert_eq!(win(db, &[dial(worker, "two", 14), dial(other, "three", 12)], master).await, [lost(14), won]);
}

async fn win(db: &Db, dials: &[Dial], master: MasterId) -> Vec<DialOutcome> {
    tx(db, |tx| async move { workers::win_sessions(&tx, dials, master, i64::MAX).await }).await
}

async fn change(ground: &Ground, revision: &str) -> muster_core::ChangeId {
    let row = ChangeRow {
        author: "Ann <ann@example.org>".to_owned(),
        comments: "a change".to_owned(),
        when: NOW.0,
        files: vec!["a.c".to_owned(), "b/c.h".to_owned()],
        properties: vec![("p".to_owned(), r#"["v", "Change"]"#.to_owned())],
        src: Some("git".to_owned()),
        ..ChangeRow::default()
    };
    let stamp = stamp(revision);
    tx(&ground.db, |tx| {
        let (row, stamp) = (row.clone(), stamp.clone());
        async move {
            let id = sourcestamps::find_or_create(&tx, &stamp, NOW).await?.id;
            changes::insert(&tx, &row, &stamp, id).await
        }
    })
    .await
}

fn stamp(revision: &str) -> NewSourceStamp {
    NewSourceStamp {
        branch: None,
        revision: Some(revision.to_owned()),
        repository: "https://example.org/r".to_owned(),
        project: "proj".to_owned(),
        codebase: "code".to_owned(),
        patch: None,
    }
}

async fn changes_are_classified_once(ground: &Ground) {
    let db = &ground.db;
    let scheduler = tx(db, |tx| async move { schedulers::find_or_create(&tx, "sbs").await }).await;
    let old = change(ground, "r0").await;
    tx(db, |tx| async move { changes::start_mark(&tx, scheduler).await }).await;
    tx(db, |tx| async move { changes::start_mark(&tx, scheduler).await }).await;
    let (first, second) = (change(ground, "r1").await, change(ground, "r2").await);
    let unseen = tx(db, |tx| async move { changes::unseen(&tx, scheduler, 10).await }).await;
    assert_eq!(unseen, [first, second]);
    assert!(tx(db, |tx| async move { changes::mark_seen(&tx, scheduler, first).await }).await);
    assert!(!tx(db, |tx| async move { changes::mark_seen(&tx, scheduler, first).await }).await);
    assert_eq!(tx(db, |tx| async move { changes::unseen(&tx, scheduler, 10).await }).await, [second]);
    tx(db, |tx| async move { changes::raise_mark(&tx, scheduler).await }).await;
    tx(db, |tx| async move { changes::keep(&tx, scheduler, first, false).await }).await;
    tx(db, |tx| async move { changes::keep(&tx, scheduler, first, true).await }).await;
    assert_eq!(tx(db, |tx| async move { changes::kept(&tx, scheduler).await }).await, [(first, true)]);
    tx(db, |tx| async move { changes::drop_kept(&tx, scheduler, &[first]).await }).await;
    let seen = tx(db, |tx| async move { query::changes::by_id(&tx, second).await }).await.unwrap();
    assert_eq!(seen.parent, Some(first), "the parent is the last change of the same branch, also of none");
    assert_eq!(seen.files, ["a.c", "b/c.h"]);
    assert_eq!(seen.properties.get("p"), Some(&serde_json::json!("v")));
    assert!(first.0 > old.0);
}

async fn sourcestamps_are_one_row_for_each_version(ground: &Ground) {
    let db = &ground.db;
    let find = |stamp: NewSourceStamp| async move {
        tx(db, |tx| {
            let stamp = stamp.clone();
            async move { sourcestamps::find_or_create(&tx, &stamp, NOW).await }
        })
        .await
    };
    let one = find(stamp("same")).await;
    assert_eq!(find(stamp("same")).await, one);
    assert_ne!(find(stamp("other")).await.id, one.id);
    let patch = NewPatch {
        level: 1,
        body_base64: "aGk=".to_owned(),
        author: "me".to_owned(),
        comment: String::new(),
        subdir: None,
    };
    let patched = find(NewSourceStamp { patch: Some(patch), ..stamp("same") }).await;
    assert_ne!(patched.id, one.id);
    let seen = tx(db, |tx| async move { query::sourcestamps::by_id(&tx, patched.id).await }).await.unwrap();
    assert_eq!(seen.patch.unwrap().body, b"hi");
}

async fn requests_wait_in_their_order(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let (builders, _) = data::builders(db, master, 2).await;
    let builder = builders[0];
    let ids = tx(db, |tx| async move {
        let buildset = buildsets::insert(&tx, &BuildsetRow::default(), &Properties::new(), &[], NOW).await?;
        let mut ids = Vec::new();
        for (priority, at) in [(0, 5), (7, 9), (0, 3), (7, 8)] {
            ids.push(
                buildsets::insert_requests(&tx, buildset, &[builder], priority, false, Timestamp(at)).await?
                    [0],
            );
        }
        Ok(ids)
    })
    .await;
    let order = |limit| async move {
        let waiting = tx(db, |tx| async move { buildsets::pending(&tx, &[builder], limit).await }).await;
        waiting.into_iter().map(|pending| pending.id).collect::<Vec<_>>()
    };
    assert_eq!(order(10).await, [ids[3], ids[1], ids[2], ids[0]]);
    assert_eq!(order(2).await, [ids[3], ids[1]]);
    assert!(buildsets::set_priority(db, ids[0], 9).await.unwrap().is_some());
    assert_eq!(order(1).await, [ids[0]]);
    let taken =
        tx(db, |tx| async move { buildsets::claim_next(&tx, &[builder], 3, claim(master)).await }).await;
    assert_eq!(taken, [ids[0], ids[3], ids[1]]);
    assert_eq!(order(10).await, [ids[2]]);
    let older = tx(db, |tx| {
        let id = ids[3];
        async move { buildsets::pending_of_builder(&tx, builder, id).await }
    })
    .await;
    assert_eq!(older.len(), 1);
    let rest =
        tx(db, |tx| async move { buildsets::claim_next(&tx, &[builder], 5, claim(master)).await }).await;
    assert_eq!(rest, [ids[2]]);
    let none =
        tx(db, |tx| async move { buildsets::claim_next(&tx, &[builder], 5, claim(master)).await }).await;
    assert_eq!(none, []);
}

async fn a_claim_is_made_once(ground: &Ground) {
    let db = &ground.db;
    let masters = data::masters(db, 2).await;
    let (one, two) = (masters[0], masters[1]);
    let (builders, _) = data::builders(db, one, 1).await;
    let request = data::requests(db, &builders, 1).await[0];
    let take = |master| async move {
        tx(db, |tx| async move { buildsets::claim(&tx, request, claim(master)).await }).await
    };
    assert!(take(one).await);
    assert!(!take(two).await);
    assert!(
        !tx(db, |tx| async move { buildsets::unclaim(&tx, request, two).await }).await,
        "not two's to give"
    );
    assert!(tx(db, |tx| async move { buildsets::unclaim(&tx, request, one).await }).await);
    assert!(take(two).await);
    tx(db, |tx| async move { buildsets::move_claim(&tx, request, one).await }).await;
    let complete = || async {
        tx(db, |tx| async move { buildsets::complete_request(&tx, request, Results::Success, NOW).await })
            .await
    };
    assert!(complete().await);
    assert!(!complete().await);
    assert!(!take(two).await);
}

async fn a_merged_set_is_claimed_whole_or_not_at_all(ground: &Ground) {
    let db = &ground.db;
    let masters = data::masters(db, 2).await;
    let (one, two) = (masters[0], masters[1]);
    let (builders, _) = data::builders(db, one, 1).await;
    let set = data::requests(db, &builders, 3).await;
    let middle = set[1];
    assert!(tx(db, |tx| async move { buildsets::claim(&tx, middle, claim(two)).await }).await);
    let take = || buildsets::take_all(db, &set, claim(one));
    assert!(matches!(take().await, Err(Error::Claimed)));
    let builder = builders[0];
    let waiting = tx(db, |tx| async move { buildsets::pending(&tx, &[builder], 100).await }).await;
    let waiting: Vec<_> = waiting.iter().map(|pending| pending.id).filter(|id| set.contains(id)).collect();
    assert_eq!(waiting, [set[0], set[2]], "nothing of the set was taken");
    assert!(tx(db, |tx| async move { buildsets::unclaim(&tx, middle, two).await }).await);
    let _ = take().await.unwrap();
}

async fn orphans_of_dead_masters_are_freed(ground: &Ground) {
    let db = &ground.db;
    let masters = data::masters(db, 2).await;
    let (dead, alive) = (masters[0], masters[1]);
    let (builders, worker) = data::builders(db, alive, 1).await;
    let builder = builders[0];
    let requests = data::requests(db, &builders, 3).await;
    let (orphan, building, cared) = (requests[0], requests[1], requests[2]);
    tx(db, |tx| async move {
        masters::set_active(&tx, dead, false, NOW).await?;
        masters::set_active(&tx, alive, true, NOW).await?;
        buildsets::claim(&tx, orphan, claim(dead)).await?;
        buildsets::claim(&tx, building, claim(dead)).await?;
        buildsets::claim(&tx, cared, claim(alive)).await?;
        data::build(&tx, builder, building, worker, dead).await
    })
    .await;
    let freed = tx(db, |tx| async move { buildsets::unclaim_orphans(&tx).await }).await;
    assert!(freed.contains(&orphan) && !freed.contains(&building) && !freed.contains(&cared), "{freed:?}");
    tx(db, |tx| async move { masters::set_active(&tx, dead, true, NOW).await }).await;
}

async fn a_buildset_ends_with_its_last_request(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let (builders, _) = data::builders(db, master, 1).await;
    let builder = builders[0];
    let mut properties = Properties::new();
    properties.set("p", serde_json::json!({"a": [1, "ä"]}), "Force");
    let (buildset, one, two) = tx(db, |tx| {
        let properties = properties.clone();
        async move {
            let sources = [sourcestamps::find_or_create(&tx, &stamp("bs"), NOW).await?.id];
            let row = BuildsetRow { reason: "why".to_owned(), ..BuildsetRow::default() };
            let buildset = buildsets::insert(&tx, &row, &properties, &sources, NOW).await?;
            let one = buildsets::insert_requests(&tx, buildset, &[builder], 0, true, NOW).await?[0];
            let two = buildsets::insert_requests(&tx, buildset, &[builder], 0, false, NOW).await?[0];
            Ok((buildset, one, two))
        }
    })
    .await;
    let done =
        || async { tx(db, |tx| async move { buildsets::complete_if_done(&tx, buildset, NOW).await }).await };
    tx(db, |tx| async move { buildsets::complete_request(&tx, one, Results::Skipped, NOW).await }).await;
    assert!(!done().await);
    tx(db, |tx| async move { buildsets::complete_request(&tx, two, Results::Warnings, NOW).await }).await;
    assert!(done().await);
    assert!(!done().await);
    let seen = tx(db, |tx| async move { query::buildsets::by_id(&tx, buildset).await }).await.unwrap();
    assert_eq!((seen.results, seen.complete_at), (Some(Results::Warnings), Some(NOW)));
    assert_eq!(seen.sourcestamps.len(), 1);
    let seen = tx(db, |tx| async move { query::properties::of_buildset(&tx, buildset).await }).await;
    assert_eq!(seen.get("p"), properties.get("p"));
}

async fn build(ground: &Ground) -> (BuildId, MasterId) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let (builders, worker) = data::builders(db, master, 1).await;
    let request = data::requests(db, &builders, 1).await[0];
    let builder = builders[0];
    let (build, _) =
        tx(db, |tx| async move { data::build(&tx, builder, request, worker, master).await }).await;
    (build, master)
}

async fn builds_are_numbered_and_end_once(ground: &Ground) {
    let db = &ground.db;
    let (first, master) = build(ground).await;
    let (second, _) = build(ground).await;
    let number =
        |id| async move { tx(db, |tx| async move { builds::by_id(&tx, id).await }).await.unwrap().number };
    assert_eq!(number(second).await, number(first).await + 1);
    tx(db, |tx| async move {
        let mut build =
            builds::by_ids(&tx, &[second, first]).await?.into_iter().find(|row| row.id == first).unwrap();
        build.locks_duration_s = 7;
        builds::update(&tx, &build).await?;
        builds::set_master(&tx, first, master).await
    })
    .await;
    let end = |state: &'static str| async move {
        tx(db, |tx| async move {
            let mut build = builds::by_id(&tx, first).await?.unwrap();
            build.state_string = state.to_owned();
            (build.results, build.complete_at) = (Some(Results::Failure), Some(NOW));
            builds::update(&tx, &build).await
        })
        .await;
    };
    end("failed").await;
    end("failed once more").await;
    let seen = tx(db, |tx| async move { builds::by_id(&tx, first).await }).await.unwrap();
    assert_eq!(
        (seen.results, seen.locks_duration_s, seen.state_string.as_str()),
        (Some(Results::Failure), 7, "failed")
    );
}

async fn properties_keep_their_json(ground: &Ground) {
    let db = &ground.db;
    let (build, _) = build(ground).await;
    let mut properties = Properties::new();
    properties.set("list", serde_json::json!([1, 2.5, null, "é😀"]), "Step");
    properties.set("n", 3, "Step");
    tx(db, |tx| {
        let properties = properties.clone();
        async move { builds::insert_properties(&tx, &[(build, properties.clone())]).await }
    })
    .await;
    let changed = Property(serde_json::json!(4), "Later".to_owned());
    tx(db, |tx| {
        let changed = changed.clone();
        async move { builds::set_properties(&tx, build, [("n", &changed), ("new", &changed)]).await }
    })
    .await;
    let seen = tx(db, |tx| async move { builds::properties(&tx, build).await }).await;
    assert_eq!(seen.get("list"), properties.get("list"));
    assert_eq!(seen.get_with_source("n"), Some(&changed));
    assert_eq!(seen.get_with_source("new"), Some(&changed));
    let raw = tx(db, |tx| async move { query::properties::raw_of_build(&tx, build).await }).await;
    let list = raw.iter().find(|property| property.name == "list").unwrap();
    assert_eq!(list.value, r#"[1, 2.5, null, "\u00e9\ud83d\ude00"]"#);
}

async fn log(ground: &Ground, kind: LogKind) -> (muster_core::StepId, muster_core::LogId) {
    let (build, _) = build(ground).await;
    tx(&ground.db, |tx| async move {
        let step = data::step(&tx, build, "compile").await?.id;
        Ok((step, data::log(&tx, step, "stdio", kind).await?.id))
    })
    .await
}

async fn steps_and_logs_are_kept_in_order(ground: &Ground) {
    let db = &ground.db;
    let (step, log) = log(ground, LogKind::from_letter("s").unwrap()).await;
    let url = StepUrl { name: "report".to_owned(), url: "https://example.org".to_owned() };
    let text: String = (0..4000).map(|line| format!("oline {line} of it, and more\n")).collect();
    let made = chunks::make(&text, Compression::Zstd);
    tx(db, |tx| {
        let made = made.clone();
        async move {
            data::append(&tx, log, &made).await?;
            data::append(&tx, log, &chunks::make("elast\n", Compression::Raw)).await?;
            let mut log = steps::log_by_id(&tx, log).await?.unwrap();
            log.complete = true;
            let other = muster_core::Log { id: muster_core::LogId(999_999), num_lines: 9, ..log.clone() };
            steps::update_logs(&tx, &[&other, &log, &other]).await
        }
    })
    .await;
    let rows = tx(db, |tx| async move {
        let step = steps::by_id(&tx, step).await?.unwrap();
        steps::logs_of_numbered(&tx, &[step.build], &[step.number as u32]).await
    })
    .await;
    assert_eq!((rows.len(), rows[0].num_lines, rows[0].complete), (1, 4001, true));
    let end = |state: &'static str| {
        let url = url.clone();
        async move {
            tx(db, |tx| {
                let url = url.clone();
                async move {
                    let mut step = steps::by_id(&tx, step).await?.unwrap();
                    (step.urls, step.hidden) = (vec![url], true);
                    (step.results, step.complete_at) = (Some(Results::Success), Some(NOW));
                    step.state_string = state.to_owned();
                    steps::update(&tx, &step).await
                }
            })
            .await;
        }
    };
    end("done").await;
    // What has ended stays as it is.
    end("again").await;
    let seen = tx(db, |tx| async move { steps::by_id(&tx, step).await }).await.unwrap();
    assert_eq!((seen.urls, seen.state_string.as_str()), (vec![url], "done"));
    assert!(seen.hidden);
    assert_eq!(lines(ground, log, 3999, 4000).await, "oline 3999 of it, and more\nelast\n");
}

async fn lines(ground: &Ground, log: muster_core::LogId, first: i64, last: i64) -> String {
    let read =
        ground.db.read("lines", |tx| async move { query::log_content::chunks(&tx, log, first, 1000).await });
    let chunks: Result<Vec<_>> = read.await;
    chunks.unwrap().iter().map(|chunk| chunk.lines(first, last).unwrap()).collect()
}

async fn logs_are_read_back_in_every_compression(ground: &Ground) {
    for method in ["raw", "gz", "bz2", "lz4", "zstd", "br"] {
        let (_, log) = log(ground, LogKind::from_letter("t").unwrap()).await;
        let method = Compression::for_writing(method).unwrap();
        let text: String =
            (0..900).map(|line| format!("{line}: some text that can be packed, é😀\n")).collect();
        let made = chunks::make(&text, method);
        assert!(made.iter().any(|chunk| chunk.compressed == method as u8));
        tx(&ground.db, |tx| {
            let made = made.clone();
            async move { data::append(&tx, log, &made).await }
        })
        .await;
        assert_eq!(lines(ground, log, 0, 10_000).await, text, "{method:?}");
    }
}

async fn many_small_chunks_become_few(ground: &Ground) {
    let (_, log) = log(ground, LogKind::from_letter("s").unwrap()).await;
    let mut text = String::new();
    for number in 0..300 {
        let piece: String = (0..10).map(|line| format!("oline {line} of piece {number}\n")).collect();
        text += &piece;
        let made = chunks::make(&piece, Compression::Gz);
        tx(&ground.db, |tx| {
            let made = made.clone();
            async move { data::append(&tx, log, &made).await }
        })
        .await;
    }
    let count = regroup::regroup(&ground.db, log, Compression::Gz).await.unwrap();
    assert!(count <= 4, "{count} chunks are left");
    assert_eq!(lines(ground, log, 0, 10_000).await, text);
    assert_eq!(
        regroup::regroup(&ground.db, log, Compression::Gz).await.unwrap(),
        count,
        "there is nothing left to do"
    );
}

async fn state_is_set_and_read(ground: &Ground) {
    let db = &ground.db;
    let key = StateKey { object: "n".repeat(300), class: "GitPoller".to_owned(), key: "lastRev".to_owned() };
    let set = |value: serde_json::Value| {
        let key = key.clone();
        async move {
            tx(db, |tx| {
                let (key, value) = (key.clone(), value.clone());
                async move { state::set(&tx, &key, &value).await }
            })
            .await;
        }
    };
    set(serde_json::json!({"main": "abc"})).await;
    set(serde_json::json!({"main": "déf"})).await;
    let seen = tx(db, |tx| {
        let key = key.clone();
        async move { state::get(&tx, &key).await }
    })
    .await;
    assert_eq!(seen, Some(serde_json::json!({"main": "déf"})));
}

async fn orders_are_kept_until_done(ground: &Ground) {
    let db = &ground.db;
    tx(db, |tx| async move {
        control::insert(&tx, "build", 5, "stop", "because", NOW).await?;
        control::insert(&tx, "build", 6, "stop", "too", NOW).await?;
        control::insert(&tx, "request", 5, "cancel", "other", NOW).await
    })
    .await;
    tx(db, |tx| async move { control::done(&tx, "build", 5).await }).await;
    let open = tx(db, |tx| async move { control::open(&tx, "build").await }).await;
    assert_eq!(
        open.iter().map(|order| (order.targetid, order.reason.as_str())).collect::<Vec<_>>(),
        [(6, "too")]
    );
}

async fn locks_queue_in_order(ground: &Ground) {
    let db = &ground.db;
    let claim =
        |build, step| LockClaim { exclusive: true, units: 1, build: BuildId(build), step, held: false };
    tx(db, |tx| async move {
        for owner in [claim(1, -1), claim(2, 3), claim(1, -1)] {
            locks::enqueue(&tx, "disk", &owner).await?;
        }
        locks::hold(&tx, BuildId(1), -1).await
    })
    .await;
    let queue = || async { tx(db, |tx| async move { locks::queue(&tx, "disk").await }).await };
    assert_eq!(queue().await, [LockClaim { held: true, ..claim(1, -1) }, claim(2, 3)]);
    tx(db, |tx| async move { locks::release_builds(&tx, &[BuildId(1), BuildId(7), BuildId(8)]).await }).await;
    assert_eq!(queue().await, [claim(2, 3)]);
    tx(db, |tx| async move { locks::release_step(&tx, BuildId(2), 3).await }).await;
    assert_eq!(queue().await, []);
}

async fn runs_are_fenced_by_owner_and_epoch(ground: &Ground) {
    let db = &ground.db;
    let (build, master) = build(ground).await;
    let worker = tx(db, |tx| async move { workers::find_or_create(&tx, "worker").await }).await;
    let snapshot = || async {
        tx(db, |tx| async move { runs::snapshot_id(&tx, &name_hash("s"), "{\"a\": \"😀\"}", NOW).await })
            .await
    };
    let id = snapshot().await;
    assert_eq!(snapshot().await, id);
    assert_eq!(
        tx(db, |tx| async move { runs::snapshot(&tx, id).await }).await.as_deref(),
        Some("{\"a\": \"😀\"}")
    );
    let old = tx(db, |tx| async move { data::run(&tx, build, master, worker, id).await }).await;
    tx(db, |tx| async move { runs::fence(&tx, &old).await }).await;
    tx(db, |tx| async move { runs::fence(&tx, &old).await }).await;
    let new = tx(db, |tx| async move { runs::adopt(&tx, &old, MasterId(77)).await }).await;
    let fenced: Result<_> = db.tx("fence", |tx| async move { runs::fence(&tx, &old).await }).await;
    assert!(matches!(fenced, Err(Error::Fenced(_))));
    let other = runs::RunKey { build: BuildId(build.0 + 1), ..new };
    let ours = tx(db, |tx| async move { runs::fence_all(&tx, &[new, old, other]).await }).await;
    assert_eq!(ours, [true, false, false]);
    tx(db, |tx| async move { runs::set_plan(&tx, build, "[1]").await }).await;
    let owned = tx(db, |tx| async move { runs::of_owner(&tx, MasterId(77)).await }).await;
    assert_eq!((owned.len(), owned[0].key, owned[0].plan.as_str()), (1, new, "[1]"));
    let request = owned[0].request;
    assert_eq!(tx(db, |tx| async move { runs::builds_of_request(&tx, request).await }).await, [build]);
    tx(db, |tx| async move { runs::delete_all(&tx, &[build]).await }).await;
    assert!(tx(db, |tx| async move { runs::of_owner(&tx, MasterId(77)).await }).await.is_empty());
}

async fn journals_are_replayed_in_order(ground: &Ground) {
    let db = &ground.db;
    let row = |ordinal, outcome: &str| JournalRow {
        step: 2,
        ordinal,
        part: runs::FIRST_PART,
        kind: "command".to_owned(),
        args_hash: "h".to_owned(),
        outcome: outcome.to_owned(),
    };
    tx(db, |tx| {
        let rows = [row(1, "b"), row(0, "a"), row(1, "c")];
        async move {
            let [first, second, later] = rows.each_ref().map(|row| (BuildId(9), row));
            runs::journal_all(&tx, &[first, second]).await?;
            runs::journal_all(&tx, &[later]).await
        }
    })
    .await;
    let read = || async { tx(db, |tx| async move { runs::journal_of(&tx, BuildId(9), 2).await }).await };
    assert_eq!(read().await, [row(0, "a"), row(1, "c")]);
    tx(db, |tx| async move { runs::drop_journals(&tx, &[(BuildId(9), 2)]).await }).await;
    assert_eq!(read().await, []);
}

async fn every_list_can_be_filtered_and_ordered(ground: &Ground) {
    use query::{
        builders, builds, buildsets, changes, logs, masters, projects, requests, sourcestamps, steps, workers,
    };
    macro_rules! lists {
        ($($table:expr => $list:path;)+) => {$(
            for column in $table.columns {
                for op in [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge, Op::Contains, Op::In, Op::NotIn] {
                    if !column.supports(op) {
                        continue;
                    }
                    let mut select = Select::all().and(*column, op, vec![1.into(), 2.into()]).limit(5).offset(1);
                    if matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge) {
                        select = Select::all().and(*column, op, vec![i64::MAX.into()]);
                    }
                    if column.orders() {
                        select = select.order_by(*column, true);
                    }
                    let read: Result<_> = ground.db.read("list", |tx| async move { $list(&tx, &select).await }).await;
                    read.unwrap_or_else(|error| panic!("{} {op:?}: {error}", column.field));
                }
            }
        )+};
    }
    lists! {
        builders::TABLE => builders::list;
        builds::TABLE => builds::list;
        buildsets::TABLE => buildsets::list;
        changes::TABLE => changes::list;
        logs::TABLE => logs::list;
        masters::TABLE => masters::list;
        masters::SCHEDULERS => masters::schedulers;
        masters::CHANGE_SOURCES => masters::change_sources;
        projects::TABLE => projects::list;
        requests::TABLE => requests::list;
        sourcestamps::TABLE => sourcestamps::list;
        steps::TABLE => steps::list;
        workers::TABLE => workers::list;
    }
    let build =
        ground.db.read("some_build", |tx| async move { builds::list(&tx, &Select::all().limit(1)).await });
    let build: Result<Vec<_>> = build.await;
    let build = build.unwrap().remove(0);
    let changed: Result<Vec<_>> =
        ground.db.read("changes", |tx| async move { changes::of_build(&tx, &build).await }).await;
    changed.unwrap();
}

async fn the_pages_questions_are_answered(ground: &Ground) {
    let read: Result<()> = ground
        .db
        .read("pages", |tx| async move {
            let builder = views::builders(&tx, 10).await?[0].id;
            let worker = views::workers(&tx, 10).await?[0].id;
            views::tags(&tx).await?;
            views::recent(&tx, None, 5).await?;
            views::recent(&tx, Some(builder), 5).await?;
            views::good_before(&tx, builder, 100, 50).await?;
            assert!(!views::latest_builds(&tx, 5).await?.is_empty());
            views::builds_of_builder(&tx, builder, None, 5).await?;
            views::builds_of_builder(&tx, builder, Some(2), 5).await?;
            views::builds_of_worker(&tx, worker, 5).await?;
            views::running(&tx, 5).await?;
            views::pending(&tx, None, 5).await?;
            views::pending(&tx, Some(builder), 5).await?;
            views::pending_summary(&tx).await?;
            views::workers_of_builders(&tx, None).await?;
            views::workers_of_builders(&tx, Some(builder)).await?;
            views::masters(&tx).await?;
            Ok(())
        })
        .await;
    read.unwrap();
}

async fn text_of_every_kind_comes_back(ground: &Ground) {
    let db = &ground.db;
    let (build, _) = build(ground).await;
    for text in ["", "plain", "é 中 😀", "'; DROP TABLE builds; --", "back\\slash % _ ?", "a\nb\tc"] {
        tx(db, |tx| async move {
            let mut build = builds::by_id(&tx, build).await?.unwrap();
            build.state_string = text.to_owned();
            builds::update(&tx, &build).await
        })
        .await;
        assert_eq!(
            tx(db, |tx| async move { builds::by_id(&tx, build).await }).await.unwrap().state_string,
            text
        );
    }
}
