//! Logs: windows, lines, searches.

use crate::fixture::{LONG_LOG, Server};

const LOG: &str = "/builders/website/builds/30/steps/3/logs/stdio";

/// The numbers of the lines on a page.
fn lines(page: &str) -> Vec<i64> {
    let ids = page.match_indices("id=\"L").map(|(at, _)| &page[at + 5..]);
    ids.map(|rest| rest[..rest.find('"').unwrap()].parse().unwrap()).collect()
}

#[tokio::test]
async fn a_log_opens_at_its_end_and_leads_to_what_is_before() {
    let server = Server::start().await;
    let page = server.page(LOG).await;
    assert_eq!(lines(&page), (LONG_LOG - 499..=LONG_LOG).collect::<Vec<_>>());
    assert!(page.contains("rel=\"prev\" href=\"?to=2000&amp;count=500\""), "{page}");
    assert!(!page.contains("rel=\"next\""));
    assert!(page.contains("✕ First error, line 2481</a>"), "{page}");
}

#[tokio::test]
async fn any_line_and_any_range_has_an_address() {
    let server = Server::start().await;
    let page = server.page(&format!("{LOG}?line=1200")).await;
    assert_eq!(lines(&page).first(), Some(&1180));
    assert!(page.contains("marked\" id=\"L1200\""));
    assert!(page.contains("rel=\"next\" href=\"?from=1680\""));
    let part = server.page(&format!("{LOG}?from=10&count=3&fragment=lines")).await;
    assert_eq!(lines(&part), [10, 11, 12]);
    assert!(part.contains("data-previous=\"7\"") && part.contains("data-next=\"13\""), "{part}");
    // Across the border of two chunks, and beyond the end.
    assert_eq!(
        lines(&server.page(&format!("{LOG}?from=499&count=4&fragment=lines")).await),
        [499, 500, 501, 502]
    );
    assert!(lines(&server.page(&format!("{LOG}?from=99999&fragment=lines")).await).is_empty());
    assert_eq!(lines(&server.page(&format!("{LOG}?from=1&count=999999&fragment=lines")).await).len(), 1000);
}

#[tokio::test]
async fn colours_are_classes_and_streams_are_told_apart() {
    let server = Server::start().await;
    let page = server.page(&format!("{LOG}?from=1")).await;
    assert!(page.contains("<span class=\"fg2\">PASS</span> test_2"), "{page}");
    assert!(page.contains("<div class=\"l h\" id=\"L1\">"));
    assert!(page.contains("data-fg=\"#ff8700\""));
    assert!(!page.contains('\u{1b}'));
    assert!(server.page(&format!("{LOG}?hide=he")).await.contains("class=\"log whole hide-he at-end\""));
}

#[tokio::test]
async fn the_server_searches_the_whole_log_and_counts() {
    let server = Server::start().await;
    let page = server.page(&format!("{LOG}?q=needle")).await;
    assert!(page.contains("1 line has “needle”"), "{page}");
    assert!(lines(&page).contains(&2491));
    let many = server.page(&format!("{LOG}?q=pass")).await;
    assert!(many.contains("the first 200 are listed"), "{many}");
    assert!(server.page(&format!("{LOG}?q=PASSED")).await.contains("0 lines have"));
}

#[tokio::test]
async fn recorded_logs_of_each_kind_are_read() {
    let server = Server::start().await;
    let mixed = server.page("/builders/ok/builds/1/steps/2/logs/mixed").await;
    assert!(mixed.contains("l h") && mixed.contains("l e"), "{mixed}");
    let html = server.page("/builders/ok/builds/1/steps/2/logs/report_html").await;
    assert!(html.contains("&lt;b&gt;bold&lt;/b&gt;"), "{html}");
}

#[tokio::test]
async fn a_page_of_very_long_lines_is_bounded_by_bytes() {
    let server = Server::start().await;
    // The log of step 3 of build 30 becomes 40 lines of 100 kB, after one of 3 MB.
    let id =
        server.store_log(LOG, "o", &[3_000_000].into_iter().chain([100_000; 40]).collect::<Vec<_>>()).await;
    let raw = format!("api/v2/logs/{id}/raw\">");
    let page = server.page(&format!("{LOG}?from=1")).await;
    assert!(page.len() < 3 << 20, "{}", page.len());
    assert!(
        page.contains(&format!("{raw}2983616 more bytes in the raw log")),
        "{}",
        &page[page.len() - 2000..]
    );
    assert_eq!(lines(&page).first(), Some(&1));
    let few = server.page(&format!("{LOG}?from=1&count=30&fragment=lines")).await;
    assert_eq!(lines(&few).len(), 30, "16 kB of each fit");
    // The windows of a log with many long lines leave no gap.
    let id = server.store_log(LOG, "o", &[16_000; 200]).await;
    let end = lines(&server.page(LOG).await);
    assert_eq!((end.last(), end.len()), (Some(&200), 65), "log {id}: 1 MiB");
    let before = lines(&server.page(&format!("{LOG}?to={}&count=500&fragment=lines", end[0] - 1)).await);
    assert_eq!((before.last(), before.len()), (Some(&(end[0] - 1)), 65));
    let first = server.page(&format!("{LOG}?from=1&count=1000&fragment=lines")).await;
    assert_eq!(lines(&first), (1..=65).collect::<Vec<_>>());
    assert!(first.contains("data-next=\"66\""));
    // The build's page shows its end only.
    let build = server.page("/builders/website/builds/30").await;
    assert!(build.len() < 1 << 20 && build.contains("more bytes in the raw log"), "{}", build.len());
    let found = server.page(&format!("{LOG}?q=xxx")).await;
    assert!(found.contains("200 lines have") && found.len() < 4 << 20, "{}", found.len());
}
