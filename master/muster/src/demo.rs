pub fn run(_options: &crate::cli::Demo) -> anyhow::Result<std::process::ExitCode> { Ok(std::process::ExitCode::SUCCESS) }
