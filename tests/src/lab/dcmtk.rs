//! A real DICOM archive and a real modality: storescp and storescu of dcmtk.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{Namespace, Process, eventually};

/// The port that both use.
pub const PORT: u16 = 11_112;

/// A running archive, which ends when it is dropped.
#[derive(Debug)]
pub struct Archive {
    process: Process,
    folder: TempDir,
}

impl Archive {
    /// Starts it in a namespace, and waits until it takes connections to this address.
    pub fn start(namespace: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = namespace.command("storescp");
        command
            .args(["--fork", "--disable-host-lookup", "--bit-preserving"])
            .args(["--aetitle", "ARCHIVE", "--output-directory"])
            .arg(folder.path())
            .arg(PORT.to_string());
        let process = Process::start(command).context("`cargo xtask setup` installs dcmtk")?;
        eventually("the archive listens", || {
            Ok(namespace.enter(|| TcpStream::connect((address, PORT))).is_ok())
        })?;
        Ok(Self { process, folder })
    }

    /// How many images it has, whole or not.
    pub fn count(&self) -> Result<usize> {
        Ok(fs::read_dir(self.folder.path())?.count())
    }

    /// The images by name, which holds the number of the instance.
    pub fn images(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let entries = fs::read_dir(self.folder.path())?;
        let image = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((
                entry.file_name().to_string_lossy().into_owned(),
                fs::read(entry.path())?,
            ))
        };
        entries.map(image).collect()
    }

    /// What it complains about.
    pub fn complaints(&self) -> String {
        self.process.errors().text()
    }
}

/// Starts sending all images of a folder in one association. Its exit code tells whether the archive has confirmed each.
pub fn start_sending(namespace: &Namespace, to: Ipv4Addr, folder: &Path) -> Result<Process> {
    let mut command = namespace.command("storescu");
    command
        .args([
            "--aetitle",
            "CT01",
            "--call",
            "ARCHIVE",
            "--timeout",
            "20",
            "--scan-directories",
        ])
        .args([&to.to_string(), &PORT.to_string()])
        .arg(folder);
    Process::start(command).context("`cargo xtask setup` installs dcmtk")
}
