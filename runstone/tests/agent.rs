//! What an agent does with a log: with its own, and the same with one that another process holds.

use runstone::Runstone;
use std::ops::Deref;

/// A log, and what must live as long as it is used.
struct Place {
    log: Runstone,
    _holder: Option<Runstone>,
    _folder: Option<tempfile::TempDir>,
}

impl Deref for Place {
    type Target = Runstone;

    fn deref(&self) -> &Runstone {
        &self.log
    }
}

#[path = "agent/blocking.rs"]
mod blocking;

#[path = "agent"]
mod here {
    use super::Place;
    use runstone::runs::{self, RunStatus};
    use runstone::{LogOptions, Runstone};
    use std::path::Path;

    #[expect(clippy::duplicate_mod, reason = "the same scenes, at home and away")]
    mod scenes;

    fn of(log: Runstone) -> Place {
        Place {
            log,
            _holder: None,
            _folder: None,
        }
    }

    fn place() -> anyhow::Result<Place> {
        Ok(of(Runstone::memory()?))
    }

    fn open(path: &Path) -> anyhow::Result<Place> {
        Ok(of(Runstone::options().open_or_create(path)?))
    }

    /// A log whose requests are decided when somebody waits for them: one that is dropped after its
    /// first poll is always on its way.
    fn patient() -> anyhow::Result<Place> {
        let mut storage = LogOptions::default();
        storage.background = false;
        Ok(of(Runstone::options().storage(storage).memory()?))
    }

    #[test]
    fn a_log_that_is_dropped_with_a_run_lets_go_of_it() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path: &Path = &folder.path().join("agent.redb");
        let log = Runstone::create(path)?;
        let run = log.run("bot").resume_or_start_blocking("run-1")?;
        log.close_blocking()?;
        drop(run);
        drop(log);
        let log = Runstone::open(path)?;
        let run = runs::get(&log, "run-1")?;
        assert_eq!(run.map(|run| run.status), Some(RunStatus::Crashed));
        assert!(
            log.run("bot")
                .resume_or_start_blocking("run-1")?
                .is_resumed()
        );
        Ok(())
    }
}

#[cfg(feature = "attach")]
#[path = "agent"]
mod afar {
    use super::Place;
    use anyhow::ensure;
    use runstone::Runstone;
    use runstone::attach::{Limits, connect, socket_of};
    use std::path::Path;

    mod scenes;

    fn place() -> anyhow::Result<Place> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("agent.redb");
        let holder = Runstone::memory()?;
        let holder = Runstone::serve(holder.log().clone(), &path, Limits::default())?;
        Ok(Place {
            log: connect(&socket_of(&path))?.into(),
            _holder: Some(holder),
            _folder: Some(folder),
        })
    }

    fn open(path: &Path) -> anyhow::Result<Place> {
        let holder = Runstone::options().open_or_create(path)?;
        let log = Runstone::open(path)?;
        ensure!(log.is_attached(), "it is held");
        Ok(Place {
            log,
            _holder: Some(holder),
            _folder: None,
        })
    }

    /// What was asked is on its way as soon as it is asked.
    fn patient() -> anyhow::Result<Place> {
        place()
    }
}
