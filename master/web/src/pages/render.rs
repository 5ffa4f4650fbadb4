//! Templates: those in the binary, and over them those in the user's `custom_templates_dir`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use include_dir::{Dir, include_dir};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, syntax::SyntaxConfig};
use muster_config::snapshot::Snapshot;

use super::format;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// The compiled templates of the configuration in force; a new configuration reads them anew.
#[derive(Clone, Default)]
pub(super) struct Templates(Arc<Mutex<Option<Compiled>>>);

struct Compiled {
    snapshot: Arc<Snapshot>,
    environment: Arc<Environment<'static>>,
}

impl Templates {
    /// Renders one template. The error names the template and the line.
    pub(super) fn render(
        &self,
        snapshot: &Arc<Snapshot>,
        name: &str,
        context: Value,
    ) -> Result<String, Error> {
        self.environment(snapshot).get_template(name)?.render(context)
    }

    fn environment(&self, snapshot: &Arc<Snapshot>) -> Arc<Environment<'static>> {
        let mut compiled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*compiled {
            Some(compiled) if Arc::ptr_eq(&compiled.snapshot, snapshot) => compiled.environment.clone(),
            _ => {
                let environment = Arc::new(environment(custom_directory(snapshot)));
                *compiled = Some(Compiled { snapshot: snapshot.clone(), environment: environment.clone() });
                environment
            }
        }
    }
}

/// `c['www']['custom_templates_dir']`, relative to the directory of the configuration file.
fn custom_directory(snapshot: &Snapshot) -> Option<PathBuf> {
    let configured = snapshot.www.raw.get("custom_templates_dir")?.as_str()?;
    Some(Path::new(&snapshot.config_file).parent()?.join(configured))
}

fn environment(custom: Option<PathBuf>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_syntax(syntax());
    environment.set_loader(move |name| load(custom.as_deref(), name));
    format::register(&mut environment);
    environment
}

/// Lines that hold only a tag leave nothing behind.
fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    syntax.expect("the delimiters are Jinja's own")
}

fn load(custom: Option<&Path>, name: &str) -> Result<Option<String>, Error> {
    if let Some(directory) = custom {
        match std::fs::read_to_string(directory.join(name)) {
            Ok(text) => return Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let text = format!("{} can't be read", directory.join(name).display());
                return Err(Error::new(ErrorKind::InvalidOperation, text).with_source(error));
            }
        }
    }
    Ok(TEMPLATES.get_file(name).and_then(|file| file.contents_utf8()).map(str::to_owned))
}
