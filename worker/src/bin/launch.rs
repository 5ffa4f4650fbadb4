//! The launcher as a program of its own, for hosts of the library whose `main` is not theirs (test harnesses).

fn main() {
    muster_worker::launch::run_if_asked();
    eprintln!("muster-launch is started by a worker, never by hand");
    std::process::exit(2);
}
