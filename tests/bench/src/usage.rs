//! What a process has used, from `/proc`.

use std::time::Duration;

/// CPU time of all its threads, in user and system mode.
pub fn cpu(process: u32) -> Duration {
    ticks(process, 11)
}

fn cpu_of_the_dead(process: u32) -> Duration {
    ticks(process, 13)
}

/// Two neighbouring fields of a process's statistics: user and system time.
fn ticks(process: u32, first: usize) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the program, in parentheses, may hold anything; the third field follows it.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(first).take(2).map(|field| field.parse().unwrap()).collect();
    Duration::from_secs_f64(ticks.iter().sum::<f64>() / rustix::param::clock_ticks_per_second() as f64)
}

/// CPU time of a process, of its children, and of those that it had.
pub fn cpu_of_tree(process: u32) -> Duration {
    let mut sum = cpu_of_the_dead(process) + cpu(process);
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        // One that ends just now is counted with the dead the next time.
        if std::fs::exists(format!("/proc/{child}/stat")).unwrap_or(false) {
            sum += cpu(child);
        }
    }
    sum
}

/// Largest memory that was resident so far, in MiB.
pub fn peak_memory(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes / 1024.0
}

/// Memory that is resident, in MiB.
pub fn memory(process: u32) -> f64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    (pages * rustix::param::page_size()) as f64 / f64::from(1 << 20)
}
