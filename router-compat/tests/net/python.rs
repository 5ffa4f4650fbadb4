//! A virtualenv with Crossbar and autobahn, made once for each target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

const CROSSBAR: &str = "crossbar==26.10.1";

/// The directory with its programs.
pub fn programs() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let venv = target.join(".venv-crossbar-26.10.1");
    let programs = venv.join("bin");
    if !programs.join("crossbar").exists() {
        // Several tests may come here at once; the first one installs.
        let script =
            "[ -x \"$0/bin/crossbar\" ] || { python3 -m venv \"$0\" && \"$0/bin/pip\" install -q \"$1\"; }";
        let mut install = Command::new("flock");
        install.arg(target.join(".venv-crossbar.lock")).args(["sh", "-c", script]).arg(&venv).arg(CROSSBAR);
        assert!(install.status().unwrap().success(), "can't install {CROSSBAR}");
    }
    programs
}
