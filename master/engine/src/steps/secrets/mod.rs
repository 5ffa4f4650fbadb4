//! Secrets as files on the worker, for the steps between the two (`docs/compat/behaviour-4-properties.md` 4.4).

mod download_secrets_to_worker;
mod remove_worker_file_secret;

pub(super) use self::{
    download_secrets_to_worker::DownloadSecretsToWorker, remove_worker_file_secret::RemoveWorkerFileSecret,
};
