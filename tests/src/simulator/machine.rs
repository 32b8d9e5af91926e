//! A machine with the files of a log that crashes and fails as real ones do, reproducibly.
//!
//! ```text
//!            write, set_len                 sync
//!  process ------------------> page cache ---------> medium
//!     | killed: the page cache stays            |
//!     | power lost: of what was not synced each write is there, torn, or not, in any combination
//! ```

use crate::tamper::Seeded;
use runstone_store::{Disk, Place};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a process ends that does not close its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// It is killed: what it wrote stays in the page cache, synced or not.
    Killed,
    /// The machine loses power: what was not synced may be lost, in part and in any order.
    PowerLost,
}

/// What the disk does wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write fails, of which any part may have been done.
    Write,
    /// A sync fails; the kernel then takes the pages for clean, and may have lost them.
    Sync,
    /// A read fails.
    Read,
    /// A sync of the log is acknowledged and not done.
    Lie,
}

/// A file, by its place in the machine's list: whoever opened it keeps it when its name is given to
/// another one.
type Number = usize;

/// The number of the head's file.
const HEAD: Number = 0;

/// The page cache takes over bytes by the page.
const PAGE: u64 = 4096;

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                let end = start + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
            Self::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        }
    }
}

/// A file: what a process reads, and what a loss of power leaves.
#[derive(Debug, Default)]
struct File {
    cache: Vec<u8>,
    medium: Vec<u8>,
    /// Changes that no sync has covered.
    pending: Vec<Change>,
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.cache);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.medium);
        }
    }

    /// Each unsynced write reaches the medium, whole or in part, or does not.
    fn settle(&mut self, numbers: &mut Seeded) {
        let bias = numbers.below(5);
        for mut change in std::mem::take(&mut self.pending) {
            let kept = match bias {
                0 => false,
                1 => true,
                _ => numbers.below(4) < bias - 1,
            };
            if !kept {
                continue;
            }
            if let Change::Write(offset, data) = &mut change
                && numbers.below(8) == 0
            {
                // A sector is written whole or not; some disks tear at any byte, which the
                // database cannot bear where its header is.
                let unit = if *offset < PAGE {
                    512
                } else {
                    [512, 1][numbers.below(2)]
                };
                let units = data.len().div_ceil(unit);
                data.truncate(numbers.below(units + 1) * unit);
            }
            change.apply(&mut self.medium);
        }
    }
}

#[derive(Debug)]
struct State {
    numbers: Seeded,
    files: Vec<File>,
    /// The file that has the log's name.
    log: Number,
    /// One that is to get it.
    rewritten: Option<Number>,
    /// Operations since the process started.
    operations: u64,
    /// The process ends so at this operation.
    crash_at: Option<(u64, Crash)>,
    /// The next operation of the kind after this many goes wrong.
    fault: Option<(Fault, u64)>,
    /// How many faults have struck.
    struck: u64,
    /// Bytes that the medium has room for.
    room: Option<u64>,
    /// Whether the file system says how much room is left.
    tells_room: bool,
    down: Option<Crash>,
    /// A sync failed, and none has succeeded since.
    lost: bool,
}

/// The machine. Clones share it.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Mutex<State>>);

impl Machine {
    /// A machine with empty files.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            numbers: Seeded::new(seed),
            files: vec![File::default(), File::default()],
            log: HEAD + 1,
            rewritten: None,
            operations: 0,
            crash_at: None,
            fault: None,
            struck: 0,
            room: None,
            tells_room: true,
            down: None,
            lost: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of the log, that of its head, and where the first can be replaced.
    pub fn disks(&self) -> (Arc<dyn Disk>, Arc<dyn Disk>, Arc<dyn Place>) {
        let log = self.lock().log;
        let place = Arc::new(MachinePlace(self.clone()));
        (self.disk(log), self.disk(HEAD), place)
    }

    fn disk(&self, number: Number) -> Arc<dyn Disk> {
        let machine = self.clone();
        Arc::new(MachineDisk { machine, number })
    }

    /// The process ends after so many more operations.
    pub fn crash_after(&self, operations: u64, crash: Crash) {
        let mut state = self.lock();
        state.crash_at = Some((state.operations + operations, crash));
    }

    /// One fault, after so many more operations of its kind.
    pub fn fail_after(&self, fault: Fault, operations: u64) {
        self.lock().fault = Some((fault, operations));
    }

    /// How many faults have struck.
    pub fn struck(&self) -> u64 {
        self.lock().struck
    }

    /// Whether the medium may have no room for a commit.
    pub fn is_short_of_room(&self) -> bool {
        let state = self.lock();
        let taken = state.taken();
        state
            .room
            .is_some_and(|room| room.saturating_sub(taken) < 2 << 20)
    }

    /// Leaves this much room beyond what the files take, or any; the file system may not tell.
    pub fn set_room(&self, more: Option<u64>, tells: bool) {
        let mut state = self.lock();
        let taken = state.taken();
        state.room = more.map(|more| taken + more);
        state.tells_room = tells;
    }

    /// What was planned and has not happened does not happen.
    pub fn calm(&self) {
        let mut state = self.lock();
        state.crash_at = None;
        state.fault = None;
        state.room = None;
    }

    /// Whether the process has ended by a crash.
    pub fn is_down(&self) -> bool {
        self.lock().down.is_some()
    }

    /// The crash that has ended it.
    pub fn crash(&self) -> Option<Crash> {
        self.lock().down
    }

    /// Ends the process and starts the machine again, without faults.
    pub fn restart(&self, crash: Crash) {
        let mut state = self.lock();
        let lost = std::mem::take(&mut state.lost);
        let State { numbers, files, .. } = &mut *state;
        // What a failed sync has lost and nobody has written again is evicted sooner or later: the
        // next process then reads what is on the medium.
        if crash == Crash::PowerLost || lost {
            for file in files {
                file.settle(numbers);
                file.cache.clone_from(&file.medium);
            }
        }
        state.crash_at = None;
        state.fault = None;
        state.room = None;
        state.down = None;
    }

    /// The power goes after a lie: what the disk said it had is gone, what else it got stays.
    pub fn restart_after_lie(&self) {
        let mut state = self.lock();
        state.files[HEAD].sync();
        drop(state);
        self.restart(Crash::PowerLost);
    }

    /// Flips bits of the log at rest.
    pub fn flip(&self, bits: usize) {
        let mut state = self.lock();
        let State {
            numbers,
            files,
            log,
            ..
        } = &mut *state;
        let log = &mut files[*log];
        log.sync();
        for _ in 0..bits {
            let at = numbers.below(log.medium.len());
            log.medium[at] ^= 1 << numbers.below(8);
        }
        log.cache.clone_from(&log.medium);
    }

    /// Puts another file, which is on the medium, in the place of the log.
    pub fn install(&self, bytes: Vec<u8>) {
        let mut state = self.lock();
        state.files.push(File {
            cache: bytes.clone(),
            medium: bytes,
            pending: Vec::new(),
        });
        state.log = state.files.len() - 1;
        state.rewritten = None;
    }

    /// The bytes of the log.
    pub fn bytes(&self) -> Vec<u8> {
        let state = self.lock();
        state.files[state.log].cache.clone()
    }
}

impl State {
    /// Bytes of the files that have a name.
    fn taken(&self) -> u64 {
        let named = [Some(HEAD), Some(self.log), self.rewritten];
        let lens = named.into_iter().flatten();
        lens.map(|number| self.files[number].cache.len() as u64)
            .sum()
    }

    /// Counts an operation; whether the process dies in it.
    fn dies(&mut self) -> io::Result<bool> {
        if self.down.is_some() {
            return Err(io::Error::other("the machine is down"));
        }
        self.operations += 1;
        let due = self.crash_at.filter(|(at, _)| self.operations >= *at);
        self.down = due.map(|(_, crash)| crash);
        Ok(self.down.is_some())
    }

    /// Whether the planned fault strikes now.
    fn strikes(&mut self, kind: Fault) -> bool {
        match &mut self.fault {
            Some((fault, 0)) if *fault == kind => {
                self.fault = None;
                self.struck += 1;
                true
            }
            Some((fault, left)) if *fault == kind => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    fn grows_to(&self, number: Number, len: u64) -> io::Result<()> {
        let more = len.saturating_sub(self.files[number].cache.len() as u64);
        if self
            .room
            .is_some_and(|room| more > 0 && self.taken() + more > room)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// Where the log's file lies.
#[derive(Debug)]
struct MachinePlace(Machine);

impl Place for MachinePlace {
    fn begin(&self) -> io::Result<Arc<dyn Disk>> {
        let mut state = self.0.lock();
        if state.dies()? {
            return Err(io::Error::other("the machine went down"));
        }
        state.files.push(File::default());
        let number = state.files.len() - 1;
        state.rewritten = Some(number);
        drop(state);
        Ok(self.0.disk(number))
    }

    fn replace(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        let dies = state.dies()?;
        let fails = state.strikes(Fault::Write);
        // One that dies or fails in it was told neither.
        let done = (!dies && !fails) || state.numbers.below(2) == 0;
        if let (Some(number), true) = (state.rewritten, done) {
            state.log = number;
            state.rewritten = None;
        }
        match (dies, fails) {
            (true, _) => Err(io::Error::other("the machine went down")),
            (_, true) => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    }

    fn discard(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.dies()? {
            return Err(io::Error::other("the machine went down"));
        }
        state.rewritten = None;
        Ok(())
    }
}

/// One of its files.
#[derive(Debug)]
struct MachineDisk {
    machine: Machine,
    number: Number,
}

impl MachineDisk {
    /// Faults strike the database, whichever file it is in.
    fn is_log(&self) -> bool {
        self.number != HEAD
    }
}

impl Disk for MachineDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.machine.lock().files[self.number].cache.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.machine.lock();
        if state.down.is_some() {
            return Err(io::Error::other("the machine is down"));
        }
        if self.is_log() && state.strikes(Fault::Read) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let start = usize::try_from(offset).unwrap();
        let bytes = &state.files[self.number].cache;
        let found = bytes.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.machine.lock();
        let dies = state.dies()?;
        state.grows_to(self.number, len)?;
        state.files[self.number].change(Change::SetLen(len));
        if dies {
            return Err(io::Error::other("the machine went down"));
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.machine.lock();
        let dies = state.dies()?;
        state.grows_to(self.number, offset + data.len() as u64)?;
        let fails = self.is_log() && state.strikes(Fault::Write);
        let mut data = data.to_vec();
        if dies || fails {
            // Whole pages of it were taken over.
            let first = PAGE - offset % PAGE;
            let pages = (data.len() as u64).saturating_sub(first).div_ceil(PAGE) + 1;
            let pages = state.numbers.below(usize::try_from(pages).unwrap() + 1) as u64;
            let done = if pages == 0 {
                0
            } else {
                first + (pages - 1) * PAGE
            };
            data.truncate(usize::try_from(done).unwrap());
        }
        state.files[self.number].change(Change::Write(offset, data));
        match (dies, fails) {
            (true, _) => Err(io::Error::other("the machine went down")),
            (_, true) => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.machine.lock();
        if state.dies()? {
            // Whether it was done nobody was told.
            if state.numbers.below(2) == 0 {
                state.files[self.number].sync();
            }
            return Err(io::Error::other("the machine went down"));
        }
        if self.is_log() && state.strikes(Fault::Sync) {
            let State { numbers, files, .. } = &mut *state;
            files[self.number].settle(numbers);
            state.lost = true;
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.is_log() && state.strikes(Fault::Lie) {
            return Ok(());
        }
        state.files[self.number].sync();
        if self.is_log() {
            state.lost = false;
        }
        Ok(())
    }

    fn available(&self) -> io::Result<Option<u64>> {
        let state = self.machine.lock();
        let taken = state.taken();
        Ok(match state.room {
            Some(room) if state.tells_room => Some(room.saturating_sub(taken)),
            _ => None,
        })
    }
}
