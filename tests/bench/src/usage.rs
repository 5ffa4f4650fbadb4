//! What a process has used, from `/proc`.

use std::time::Duration;

/// CPU time of all its threads, in user and system mode.
pub fn cpu(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the program, in parentheses, may hold anything; the third field follows it.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap()).collect();
    Duration::from_secs_f64(ticks.iter().sum::<f64>() / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory that is resident, in MiB.
pub fn memory(process: u32) -> f64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    (pages * rustix::param::page_size()) as f64 / f64::from(1 << 20)
}
