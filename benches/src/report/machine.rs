//! What it ran on: numbers stand only next to their machine.

use serde::Serialize;
use std::fs::read_to_string;
use std::path::Path;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    /// One, five and fifteen minutes before the end of the run: more than the cores means that
    /// others used the machine.
    pub(crate) load: String,
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
}

impl Machine {
    pub(crate) fn of(folder: &Path, rounds: u32, quick: bool) -> Self {
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let file = |path| read_to_string(path).unwrap_or_default();
        let memory = after(&file("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory = memory.split(' ').next().unwrap_or_default();
        Self {
            cpu: after(&file("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory.parse::<u64>().unwrap_or_default() >> 20,
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(folder),
            load: file("/proc/loadavg")
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            rounds,
            quick,
        }
    }
}

/// The kind of file system that a folder is on.
fn file_system(folder: &Path) -> String {
    let mounts = read_to_string("/proc/mounts").unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    let longest = mounted.max_by_key(|(length, _)| *length);
    longest.map_or_else(String::new, |(_, kind)| kind.to_owned())
}
