//! The Python that evaluates configurations.

use std::path::PathBuf;

use muster_config::python;

/// `MUSTER_PYTHON`, or the first one on the search path. A relative path means what it means here, and not in the directory
/// of the master, where the interpreter is started.
pub fn interpreter() -> PathBuf {
    match std::env::var_os("MUSTER_PYTHON") {
        Some(program) => {
            let program = PathBuf::from(program);
            let is_path = program.components().count() > 1;
            if is_path { std::path::absolute(&program).unwrap_or(program) } else { program }
        }
        None => python::find(std::env::var_os("PATH").as_ref()),
    }
}
