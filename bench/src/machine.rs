//! The machine that was measured on.

use std::fs;
use std::thread;

use rustix::system::uname;
use serde::{Deserialize, Serialize};

/// What a reader needs to compare figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) distribution: String,
    /// A virtual machine shows the processor's flag `hypervisor`.
    pub(crate) is_virtual: bool,
    /// Whether BPF programs are compiled to machine code.
    pub(crate) jit: bool,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let memory = value(&read("/proc/meminfo"), "MemTotal", ':');
        Self {
            processor: value(&processor, "model name", ':'),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory
                .split(' ')
                .next()
                .and_then(|kib| kib.parse::<u64>().ok())
                .unwrap_or(0)
                / 1024,
            kernel: uname().release().to_string_lossy().into_owned(),
            distribution: value(&read("/etc/os-release"), "PRETTY_NAME", '=')
                .trim_matches('"')
                .into(),
            is_virtual: value(&processor, "flags", ':')
                .split(' ')
                .any(|flag| flag == "hypervisor"),
            jit: read("/proc/sys/net/core/bpf_jit_enable").trim() != "0",
        }
    }
}

/// The value of the first line with this key.
fn value(text: &str, key: &str, separator: char) -> String {
    text.lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_key() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        assert_eq!(value(text, "model name", ':'), "AMD EPYC");
        assert_eq!(value(text, "model", ':'), "");
        assert!(!Machine::this().kernel.is_empty());
    }
}
