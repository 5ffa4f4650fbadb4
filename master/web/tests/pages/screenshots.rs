//! A picture of each page: light, dark and narrow.

use std::{path::PathBuf, process::Stdio};

use tokio::process::Command;

use crate::{fixture::Server, render::PAGES};

/// Name, theme, width and height.
const VIEWS: [(&str, &str, u32, u32); 3] =
    [("light", "light", 1280, 900), ("dark", "dark", 1280, 900), ("narrow", "light", 420, 900)];

/// Writes `target/tmp/pages/*.png`.
#[tokio::test]
#[ignore = "needs Chromium and a minute; run it with --ignored and look at the pictures"]
async fn pictures_of_all_pages() {
    let server = Server::start().await;
    let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&pictures).unwrap();
    for (name, path) in PAGES {
        for (view, theme, width, height) in VIEWS {
            let file = pictures.join(format!("{name}-{view}.png"));
            take(&format!("http://{}{path}", server.address), theme, width, height, &file).await;
            let size = std::fs::metadata(&file).unwrap().len();
            assert!(size > 8_000, "{} is an empty picture of {size} bytes", file.display());
        }
    }
}

async fn take(url: &str, theme: &str, width: u32, height: u32, file: &std::path::Path) {
    let profile = tempfile::tempdir().unwrap();
    let preferred = if theme == "dark" { 0 } else { 1 };
    let status = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args(["--disable-component-update", "--disable-sync", "--hide-scrollbars"])
        .arg(format!("--blink-settings=preferredColorScheme={preferred}"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--screenshot={}", file.display()))
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.await.expect("chromium can be started").success());
}
