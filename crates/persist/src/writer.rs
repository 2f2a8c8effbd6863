//! The file end of the log: one writer at a time, under the log's file mutex.
//!
//! The order of the steps makes each change of files safe: new files are complete and synced before
//! the manifest names them, and old ones are touched only when the manifest that no longer needs
//! them is durable. So a crash at any step finds the old state or the new one.
//!
//! Increments are the exception, because the switch to a fresh one happens under the locks of all
//! data and must not wait for the disk: the manifest names the fresh one while it is still empty,
//! and marks the end of the one before as perhaps not durable ([`FileInfo::unsynced`]). Nothing
//! counts as synced before that end is.

use crate::annotation::{ANNOTATION_MAX, CHECKSUM_EVERY, Checksum};
use crate::chunk::{Chunk, Unsynced, recycle};
use crate::directory::{CommitError, Directory};
use crate::increment::{self, Fresh};
use crate::manifest::{FileInfo, Manifest};
use crate::replication::Mark;
use crate::status::ERROR_LOG_INTERVAL;
use crate::storage::{File, append_all, errno_text};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The open log: a directory, and the increment that grows.
pub(crate) struct Writer {
    pub(crate) directory: Arc<Directory>,
    /// The manifest in force on the disk.
    pub(crate) manifest: Manifest,
    file: Arc<dyn File>,
    /// Distinguishes the file from those before and after it.
    file_id: u64,
    /// Length of the file up to its last whole chunk. It may be longer only while `torn`.
    pub(crate) len: u64,
    /// Size of all other live files.
    pub(crate) others_len: u64,
    /// Part of a chunk stands behind `len`, and cutting it off has failed.
    torn: bool,
    /// When a write that was cut short was last logged, in nanoseconds of the monotonic clock.
    short_write_logged_ns: Option<u64>,
    checksum: Checksum,
    /// Write checksum lines.
    pub(crate) checksums: bool,
    /// Chunks that could not be written, in order. Later records wait in the buffer.
    pub(crate) unwritten: VecDeque<Chunk>,
    pub(crate) spare: Vec<u8>,
    /// The place at `len`.
    place: Mark,
    pub(crate) unsynced: Unsynced,
    /// Length of the file when it was last synced: bytes before it are durable.
    pub(crate) synced_len: u64,
    /// Increments before the file whose ends are not synced yet, oldest first.
    closing: Vec<Closing>,
    /// A sync failed: bytes behind the last good one may be lost, whatever later syncs say.
    sync_failed: bool,
    /// A note of the failed sync is in the directory.
    suspect: bool,
    /// The manifest is in force but a power cut may undo it; with it, this becomes durable.
    pub(crate) manifest_pending: Option<Settled>,
    /// The empty increment at the end of the manifest that is taken next.
    prepared: Option<Prepared>,
    /// The manifest does not name the file, which has this name: a base has to come first.
    pub(crate) waiting: Option<PathBuf>,
    /// The base that is being written.
    pub(crate) rewrite: Option<Rewrite>,
}

/// How far a manifest makes the log durable.
#[derive(Clone, Copy)]
pub(crate) struct Settled {
    /// Length of the file.
    pub(crate) len: u64,
    /// The place there.
    pub(crate) place: Mark,
}

/// Numbers files, also those of another writer.
static FILES: AtomicU64 = AtomicU64::new(0);

fn next_file_id() -> u64 {
    FILES.fetch_add(1, Ordering::Relaxed)
}

/// A base that is being written, as the log sees it.
pub(crate) struct Rewrite {
    /// Position its data stands at.
    pub(crate) position: u64,
    /// Sequence number of the increment that begins there. `None` while the log is broken, or waits
    /// for its first base: there is none that the manifest names.
    pub(crate) first: Option<u64>,
    /// Size of the files before that increment.
    pub(crate) before_len: u64,
    /// Why it cannot be put in force any more.
    pub(crate) lost: Option<&'static str>,
}

/// An empty increment that the manifest names.
pub(crate) struct Prepared {
    file: Arc<dyn File>,
    /// It is certainly empty, and its name is durable.
    ready: bool,
}

/// An increment that is written no more and whose end is not synced.
struct Closing {
    file: Arc<dyn File>,
    id: u64,
    seq: u64,
    len: u64,
    synced_len: u64,
    /// The place at its end.
    place: Mark,
}

/// The target of a sync: it makes this length of a file durable, and the log up to this place.
pub(crate) struct SyncTarget {
    pub(crate) file: Arc<dyn File>,
    id: u64,
    len: u64,
    pub(crate) place: Mark,
    /// It is the file that grows, and nothing before it waits.
    pub(crate) is_last: bool,
}

impl Writer {
    pub(crate) fn with_file(
        directory: Arc<Directory>,
        manifest: Manifest,
        fresh: Fresh,
        others_len: u64,
        (place, checksums): (Mark, bool),
    ) -> Self {
        Self {
            directory,
            manifest,
            len: fresh.len,
            others_len,
            torn: false,
            short_write_logged_ns: None,
            checksum: fresh.checksum,
            checksums,
            unwritten: VecDeque::new(),
            spare: Vec::new(),
            place,
            unsynced: Unsynced::default(),
            synced_len: fresh.len,
            file: fresh.file,
            file_id: next_file_id(),
            closing: Vec::new(),
            sync_failed: false,
            suspect: false,
            manifest_pending: None,
            prepared: None,
            waiting: None,
            rewrite: None,
        }
    }

    /// Continues in another file, which is synced completely.
    pub(crate) fn take_file(&mut self, fresh: Fresh) {
        self.file = fresh.file;
        self.file_id = next_file_id();
        self.len = fresh.len;
        self.synced_len = fresh.len;
        self.checksum = fresh.checksum;
        (self.torn, self.sync_failed) = (false, false);
    }

    /// Writes one chunk and keeps a copy while `keep` bytes allow it; with `close`, or when it is
    /// due, a checksum line follows. After an error the chunk is the first in `unwritten` and the
    /// file ends with the chunk before, or is `torn`.
    pub(crate) fn write(&mut self, mut chunk: Chunk, close: bool, keep: usize) -> io::Result<()> {
        let body = chunk.bytes.len();
        let mut checksum = self.checksum;
        checksum.update(&chunk.bytes);
        let covered = checksum.covered();
        if self.checksums && (covered >= CHECKSUM_EVERY || (close && covered > 0)) {
            let line = checksum.line(chunk.after.offset);
            debug_assert!(line.len() < ANNOTATION_MAX);
            chunk.bytes.extend_from_slice(line.as_bytes());
            checksum = Checksum::new();
        }
        let total = chunk.bytes.len() as u64;
        let result = self.append(&chunk.bytes);
        chunk.bytes.truncate(body);
        match result {
            Ok(()) => {
                self.len += total;
                self.checksum = checksum;
                self.place = chunk.after;
                self.spare = if body == 0 {
                    recycle(chunk.bytes)
                } else {
                    self.unsynced.push(chunk, keep)
                };
                Ok(())
            }
            Err(error) => {
                self.unwritten.push_front(chunk);
                Err(error)
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.truncate(self.len)?;
            self.torn = false;
        }
        let Err((done, error)) = append_all(&*self.file, bytes) else {
            return Ok(());
        };
        if done > 0 {
            self.log_short_write(done, bytes.len());
            if let Err(error) = self.file.truncate(self.len) {
                self.torn = true;
                log::warn!(
                    "Could not remove short write from the append-only file: {}",
                    errno_text(&error)
                );
            }
        }
        Err(error)
    }

    /// A full disk is tried once a second: the log has this line less often.
    fn log_short_write(&mut self, done: usize, expected: usize) {
        let clock = &self.directory.clock;
        let is_recent = |at| clock.since(at) < ERROR_LOG_INTERVAL;
        if self.short_write_logged_ns.is_some_and(is_recent) {
            return;
        }
        self.short_write_logged_ns = Some(clock.monotonic_ns());
        log::warn!(
            "Short write while writing to the AOF file: (nwritten={done}, expected={expected})"
        );
    }

    /// The manifest up to the file that grows, and the length of that file. `None` while the
    /// manifest does not name it.
    pub(crate) fn current(&self) -> Option<(Manifest, u64)> {
        if self.waiting.is_some() {
            return None;
        }
        let mut manifest = self.manifest.clone();
        if self.prepared.is_some() {
            manifest.incr.pop();
        }
        Some((manifest, self.len))
    }

    /// The place behind what is written.
    pub(crate) fn place(&self) -> Mark {
        self.place
    }

    /// Whether bytes stand in the file that no checksum line covers.
    pub(crate) fn wants_closing(&self) -> bool {
        self.checksums && self.checksum.covered() > 0
    }

    // ---- the switch to a fresh increment

    /// Makes the increment that [`Writer::switch`] takes, and a manifest with it. `None` when there
    /// is one, or when the manifest does not name the log's files.
    pub(crate) fn prepare(&self) -> Option<Preparing> {
        let is_ready = self.prepared.as_ref().is_some_and(|next| next.ready);
        if is_ready || self.waiting.is_some() {
            return None;
        }
        let mut next = self.manifest.clone();
        if self.prepared.is_none() {
            if let Some(last) = next.incr.last_mut() {
                last.unsynced = true;
            }
            let info = next.next_incr(&self.directory.filename);
            next.incr.push(info);
        }
        Some(Preparing {
            directory: self.directory.clone(),
            is_named: self.prepared.is_some(),
            path: self.directory.path_of(next.incr.last()?),
            manifest: next,
        })
    }

    /// Takes over what [`Preparing::run`] has put in force.
    pub(crate) fn take_prepared(&mut self, manifest: Manifest, prepared: Prepared) {
        self.manifest = manifest;
        self.prepared = Some(prepared);
    }

    /// Continues in the prepared increment, at this place. Nothing is synced. After an error the
    /// old one stays in use.
    pub(crate) fn switch(&mut self, place: &Mark) -> io::Result<()> {
        let [.., old, info] = self.manifest.incr.as_slice() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (old_seq, seq) = (old.seq, info.seq);
        let Some(prepared) = self.prepared.as_mut().filter(|next| next.ready) else {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        };
        if !self.checksums {
            // A lost end of this file is found only by the offset in the head of the next one.
            self.file.sync_data()?;
            self.synced_len = self.len;
        }
        let mut fresh = Fresh {
            file: prepared.file.clone(),
            len: 0,
            checksum: Checksum::new(),
        };
        // One line: of a head of several, some could be left whole while the old increment goes on.
        let head = match self.checksums {
            true => fresh.close_checksum(place.offset),
            false => Ok(()),
        };
        if let Err(error) = head {
            // A loader cuts half a head; the next attempt empties the file.
            prepared.ready = false;
            return Err(error);
        }
        self.prepared = None;
        if self.synced_len < self.len {
            self.closing.push(Closing {
                file: self.file.clone(),
                id: self.file_id,
                seq: old_seq,
                len: self.len,
                synced_len: self.synced_len,
                place: *place,
            });
        }
        self.others_len += self.len;
        self.unsynced.seal();
        self.take_file(fresh);
        self.place = place.at_file_start();
        // The head is not synced.
        self.synced_len = 0;
        if let Some(rewrite) = &mut self.rewrite
            && rewrite.position == place.position
            && rewrite.first.is_none()
        {
            (rewrite.first, rewrite.before_len) = (Some(seq), self.others_len);
        }
        Ok(())
    }

    /// Whether the manifest marks ends as unsynced that are synced by now.
    pub(crate) fn can_seal(&self) -> bool {
        let all = self.manifest.incr.len();
        let named = usize::from(self.prepared.is_some()) + 1;
        self.closing.is_empty()
            && self
                .manifest
                .incr
                .iter()
                .take(all.saturating_sub(named))
                .any(|info| info.unsynced)
    }

    /// The manifest without the marks of ends that are synced.
    pub(crate) fn sealed(&self) -> Manifest {
        let mut next = self.manifest.clone();
        let kept = usize::from(self.prepared.is_some()) + 1;
        let all = next.incr.len();
        for info in next.incr.iter_mut().take(all.saturating_sub(kept)) {
            info.unsynced = false;
        }
        next
    }

    // ---- syncs

    /// The oldest file with bytes that wait for a sync.
    pub(crate) fn sync_target(&mut self) -> SyncTarget {
        if let Some(first) = self.closing.first() {
            return SyncTarget {
                file: first.file.clone(),
                id: first.id,
                len: first.len,
                place: first.place,
                is_last: false,
            };
        }
        self.unsynced.seal();
        SyncTarget {
            file: self.file.clone(),
            id: self.file_id,
            len: self.len,
            place: self.place,
            is_last: true,
        }
    }

    /// A sync has succeeded. False when the file is not in use any more.
    pub(crate) fn note_synced(&mut self, done: &SyncTarget) -> bool {
        if done.id == self.file_id {
            self.synced_len = self.synced_len.max(done.len);
        } else if let Some(closing) = self.closing.iter_mut().find(|file| file.id == done.id) {
            closing.synced_len = closing.synced_len.max(done.len);
            self.closing.retain(|file| file.synced_len < file.len);
        } else {
            return false;
        }
        self.unsynced.release(done.place.position);
        true
    }

    /// A sync has failed: everything behind the last successful sync has to be written again before
    /// new records.
    pub(crate) fn distrust(&mut self) {
        self.sync_failed = true;
        self.note_failed_sync();
    }

    /// Up to which position a failed sync may lose records that are not kept in memory; `written`
    /// when the log waits for a base.
    pub(crate) fn lost_to(&self, written: u64) -> u64 {
        match self.waiting {
            Some(_) => written,
            None => self.unsynced.gap_end(),
        }
    }

    /// Writes the note for the next process, when an earlier attempt has failed.
    pub(crate) fn note_failed_sync(&mut self) {
        if self.sync_failed && !self.suspect && self.waiting.is_none() {
            self.suspect = self.directory.mark_suspect();
        }
    }

    pub(crate) fn needs_roll(&self) -> bool {
        self.sync_failed
    }

    /// After a failed sync: writes all records that may be lost, which are kept in memory, again
    /// into a new increment, and limits the old one in the manifest to the length of its last
    /// successful sync. Everything written is durable then, unless `manifest_pending`.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        let mut next = self.manifest.clone();
        if self.prepared.is_some() {
            next.history.extend(next.incr.pop());
        }
        let (first, first_len) = match self.closing.first() {
            Some(closing) => (closing.seq, closing.synced_len),
            None => (next.incr.last().map_or(0, |info| info.seq), self.synced_len),
        };
        let kept = next.incr.partition_point(|info| info.seq <= first);
        let info = next.next_incr(&self.directory.filename);
        let dropped = next.incr.split_off(kept);
        next.history.extend(dropped);
        if let Some(last) = next.incr.last_mut() {
            (last.length, last.unsynced) = (Some(first_len), false);
        }
        next.incr.push(info.clone());
        let made = self.copy_unsynced(&info);
        let fresh = made.and_then(|made| match self.directory.commit(&next) {
            Ok(()) => Ok((made, false)),
            Err(CommitError::NotDurable(_)) => Ok((made, true)),
            Err(CommitError::NotDone(error)) => Err(error),
        });
        let (fresh, pending) = match fresh {
            Ok(done) => done,
            Err(error) => {
                self.directory.discard(&self.directory.path_of(&info));
                return Err(error);
            }
        };
        let name = info.display();
        log::warn!("AOF goes on in {name} with everything since the last good fsync");
        self.rolled(next, first_len);
        self.take_file(fresh);
        let (len, place) = (self.len, self.place);
        self.settle(Settled { len, place }, pending);
        self.tidy();
        Ok(())
    }

    /// Takes over the manifest after a roll, and what goes with it.
    fn rolled(&mut self, next: Manifest, first_len: u64) {
        let left: u64 = self.closing.iter().map(|closing| closing.len).sum();
        self.others_len = self.others_len.saturating_sub(left) + first_len;
        if let Some(rewrite) = &mut self.rewrite
            && !self.closing.is_empty()
        {
            // Its increments would have to begin in the middle of the new file.
            rewrite.lost = Some("an fsync failed, and the log had to be written again");
        }
        self.closing.clear();
        self.prepared = None;
        self.manifest = next;
    }

    /// The manifest in force makes the log durable up to this point, once it is durable itself.
    pub(crate) fn settle(&mut self, settled: Settled, pending: bool) {
        self.manifest_pending = pending.then_some(settled);
        if pending {
            return;
        }
        self.synced_len = self.synced_len.max(settled.len);
        self.unsynced.release(settled.place.position);
        if !self.sync_failed && std::mem::take(&mut self.suspect) {
            self.directory.clear_suspect();
        }
    }

    /// Removes and cuts files as the manifest in force requires, when it is durable.
    fn tidy(&mut self) {
        if self.manifest_pending.is_none() {
            self.directory.tidy(&mut self.manifest);
        }
    }

    /// Whether no byte of the log waits for a sync.
    pub(crate) fn all_synced(&self) -> bool {
        self.manifest_pending.is_none()
            && !self.sync_failed
            && self.closing.is_empty()
            && self.synced_len == self.len
    }

    /// A new increment with all unsynced chunks, synced.
    fn copy_unsynced(&self, info: &FileInfo) -> io::Result<Fresh> {
        let path = self.directory.path_of(info);
        let first = self.unsynced.segments().next();
        let place = first.map_or(self.place, |first| first.before);
        let mut fresh = increment::create(&self.directory, &path, &place, self.checksums)?;
        for chunk in self.unsynced.segments() {
            fresh.append(&chunk.bytes)?;
        }
        if self.checksums && fresh.checksum.covered() > 0 {
            fresh.close_checksum(self.place.offset)?;
        }
        fresh.file.sync_data()?;
        Ok(fresh)
    }

    /// Makes the manifest in force durable; returns the place up to which the log is durable with
    /// it.
    pub(crate) fn commit_again(&mut self) -> io::Result<Option<Mark>> {
        let Some(settled) = self.manifest_pending else {
            return Ok(None);
        };
        self.directory
            .commit(&self.manifest)
            .map_err(CommitError::into_io)?;
        self.settle(settled, false);
        self.tidy();
        Ok(Some(settled.place))
    }

    // ---- a new base

    /// The base is in force: increments before this one, and records kept up to this position, are
    /// not needed any more.
    pub(crate) fn rebased(&mut self, next: Manifest, first: u64, position: u64) {
        self.manifest = next;
        self.unsynced.release(position);
        self.closing.retain(|closing| closing.seq >= first);
    }

    /// Drops everything up to this place, written or not, because a base contains it.
    pub(crate) fn leave_all(&mut self, fresh: Fresh, place: &Mark) {
        self.closing.clear();
        let is_in_base = |chunk: &mut Chunk| chunk.before.position < place.position;
        while self.unwritten.pop_front_if(is_in_base).is_some() {}
        if let Some(first) = self.unwritten.front_mut() {
            first.fresh = false;
        }
        self.unsynced.release(u64::MAX);
        self.prepared = None;
        self.take_file(fresh);
        self.place = place.at_file_start();
    }
}

/// An increment on its way into the manifest. Making it waits for the disk, so it can be done
/// without the writer.
pub(crate) struct Preparing {
    directory: Arc<Directory>,
    manifest: Manifest,
    path: PathBuf,
    /// The manifest in force names it already.
    is_named: bool,
}

impl Preparing {
    pub(crate) fn run(self) -> io::Result<(Manifest, Prepared)> {
        let fresh = Fresh::create(&self.directory, &self.path)?;
        let file = fresh.file;
        let committed = file
            .sync_data()
            .map_err(CommitError::NotDone)
            .and_then(|()| self.directory.commit(&self.manifest));
        let ready = match committed {
            Ok(()) => true,
            Err(CommitError::NotDurable(error)) => {
                log::warn!("Fail to fsync AOF directory: {}", errno_text(&error));
                false
            }
            Err(CommitError::NotDone(error)) => {
                if !self.is_named {
                    self.directory.discard(&self.path);
                }
                return Err(error);
            }
        };
        Ok((self.manifest, Prepared { file, ready }))
    }
}
