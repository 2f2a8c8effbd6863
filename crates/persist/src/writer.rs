//! The file end of the log: one writer at a time, under the log's file mutex.
//!
//! What each change of files guarantees is in the order of its steps: new files are complete and
//! synced before the manifest names them, and old ones are touched only when the manifest that no
//! longer needs them is durable. So a crash at any step finds the old state or the new one.

use crate::annotation::{ANNOTATION_MAX, CHECKSUM_EVERY, Checksum};
use crate::chunk::{Chunk, Unsynced, push_select, recycle};
use crate::directory::{CommitError, Directory};
use crate::load::{LoadReport, Tail};
use crate::manifest::{FileInfo, Manifest};
use crate::storage::{File, OpenMode, append_all, errno_text, read_full};
use std::io::{self, Write};
use std::sync::Arc;

/// Bytes of a base, or of a file that is copied, that are written at once.
const COPY_BUFFER: usize = 256 << 10;

/// The open log: a directory, and the increment that grows.
pub(crate) struct Writer {
    pub(crate) directory: Directory,
    manifest: Manifest,
    file: Arc<dyn File>,
    /// Length of the file up to its last whole chunk. It may be longer only while `torn`.
    pub(crate) len: u64,
    /// Size of all other live files.
    pub(crate) others_len: u64,
    /// Part of a chunk stands behind `len`, and cutting it off has failed.
    torn: bool,
    checksum: Checksum,
    /// Write checksum lines.
    pub(crate) checksums: bool,
    /// The chunk that could not be written. What came after it waits in the buffer.
    pub(crate) unwritten: Option<Chunk>,
    pub(crate) spare: Vec<u8>,
    /// Database selected at `len`.
    db: Option<u32>,
    pub(crate) unsynced: Unsynced,
    /// Length of the file when it was last synced: what stands before is durable.
    pub(crate) synced_len: u64,
    /// The last sync failed: bytes from `synced_len` on may be lost, whatever later syncs say.
    sync_failed: bool,
    /// A note of that is in the directory.
    suspect: bool,
    /// The manifest is in force but a power cut may undo it.
    pub(crate) manifest_pending: bool,
}

/// A new increment: its file, and what its head says.
struct Fresh {
    file: Arc<dyn File>,
    len: u64,
    checksum: Checksum,
}

impl Writer {
    /// Goes on after loading: opens the last increment, or makes one.
    pub(crate) fn resume(
        directory: Directory,
        mut manifest: Manifest,
        tail: Option<Tail>,
        report: &LoadReport,
        checksums: bool,
    ) -> io::Result<Self> {
        let open_end = manifest
            .incr
            .last()
            .filter(|last| last.length.is_none())
            .cloned();
        let suspect = directory.is_suspect();
        let (fresh, others_len) = match (open_end, tail) {
            (Some(last), Some(tail)) => {
                let others_len = report.bytes - tail.len;
                let fresh = if suspect {
                    copy_last(&directory, &mut manifest, &last, tail)?
                } else {
                    open_last(&directory, &last, tail)?
                };
                (fresh, others_len)
            }
            _ => {
                let fresh = add_increment(&directory, &mut manifest, report.offset, checksums)?;
                (fresh, report.bytes)
            }
        };
        // Also when nothing changed: an earlier process may have left it without making it durable.
        directory.commit(&manifest).map_err(CommitError::into_io)?;
        if suspect {
            directory.clear_suspect();
        }
        directory.tidy(&mut manifest);
        let mut writer = Self::with_file(directory, manifest, fresh, checksums);
        writer.others_len = others_len;
        Ok(writer)
    }

    fn with_file(directory: Directory, manifest: Manifest, fresh: Fresh, checksums: bool) -> Self {
        Self {
            directory,
            manifest,
            len: fresh.len,
            others_len: 0,
            torn: false,
            checksum: fresh.checksum,
            checksums,
            unwritten: None,
            spare: Vec::new(),
            db: None,
            unsynced: Unsynced::default(),
            synced_len: fresh.len,
            file: fresh.file,
            sync_failed: false,
            suspect: false,
            manifest_pending: false,
        }
    }

    /// Writes the first base of a log that was not open, and opens it.
    pub(crate) fn first_base(
        directory: Directory,
        manifest: &Manifest,
        offset: u64,
        checksums: bool,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Self> {
        let base = start_base(&directory, manifest, offset, checksums, write)?;
        let mut writer = Self::with_file(directory, base.manifest, base.fresh, checksums);
        writer.others_len = base.base_len;
        writer.settle(offset, base.pending);
        Ok(writer)
    }

    /// Writes a new base with `write` and goes on in an empty increment behind it. With `Ok` they
    /// are in force, with `manifest_pending` perhaps; after an error nothing has changed.
    pub(crate) fn rebase(
        &mut self,
        offset: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let base = start_base(
            &self.directory,
            &self.manifest,
            offset,
            self.checksums,
            write,
        )?;
        self.manifest = base.manifest;
        self.take_file(base.fresh);
        self.others_len = base.base_len;
        self.unwritten = None;
        self.db = None;
        self.unsynced.release(u64::MAX);
        self.settle(offset, base.pending);
        Ok(())
    }

    fn take_file(&mut self, fresh: Fresh) {
        self.file = fresh.file;
        self.len = fresh.len;
        self.checksum = fresh.checksum;
        (self.torn, self.sync_failed) = (false, false);
    }

    pub(crate) fn file(&self) -> Arc<dyn File> {
        self.file.clone()
    }

    /// Writes one chunk and keeps a copy while `keep` bytes allow it; with `close`, or when it is
    /// due, a checksum line follows. After an error the chunk is in `unwritten` and the file ends
    /// with the chunk before, or is `torn`.
    pub(crate) fn write(&mut self, mut chunk: Chunk, close: bool, keep: usize) -> io::Result<()> {
        let body = chunk.bytes.len();
        let mut checksum = self.checksum;
        checksum.update(&chunk.bytes);
        let covered = checksum.covered();
        if self.checksums && (covered >= CHECKSUM_EVERY || (close && covered > 0)) {
            let line = checksum.line(chunk.end);
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
                self.db = chunk.db_after;
                self.spare = if body == 0 {
                    recycle(chunk.bytes)
                } else {
                    self.unsynced.push(chunk, keep)
                };
                Ok(())
            }
            Err(error) => {
                self.unwritten = Some(chunk);
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
            log::warn!(
                "Short write while writing to the AOF file: (nwritten={done}, expected={})",
                bytes.len()
            );
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

    /// Whether bytes stand in the file that no checksum line covers.
    pub(crate) fn wants_closing(&self) -> bool {
        self.checksums && self.checksum.covered() > 0
    }

    /// A sync has failed: nothing more is written to this file.
    pub(crate) fn distrust(&mut self) {
        self.sync_failed = true;
        self.note_failed_sync();
    }

    /// Leaves the note for the next process, when it is due and could not be left before.
    pub(crate) fn note_failed_sync(&mut self) {
        if self.sync_failed && !self.suspect {
            self.suspect = self.directory.mark_suspect();
        }
    }

    pub(crate) fn needs_roll(&self) -> bool {
        self.sync_failed
    }

    /// After a failed sync: writes what may be lost, from stream offset `synced` to `written`, again
    /// into a new increment, and says in the manifest that the old one counts only up to its last
    /// good sync. Everything up to `written` is durable then, unless `manifest_pending`.
    pub(crate) fn roll(&mut self, synced: u64, written: u64) -> io::Result<()> {
        let mut next = self.manifest.clone();
        if let Some(last) = next.incr.last_mut() {
            last.length = Some(self.synced_len);
        }
        let info = next.next_incr(&self.directory.filename);
        next.incr.push(info.clone());
        let db = self
            .unsynced
            .segments()
            .next()
            .map_or(self.db, |first| first.db_before);
        let made = self.copy_unsynced(&info, db, synced, written);
        let fresh = made.and_then(|made| match self.directory.commit(&next) {
            Ok(()) => Ok((made, false)),
            Err(CommitError::NotDurable(_)) => Ok((made, true)),
            Err(CommitError::NotDone(error)) => Err(error),
        });
        let (fresh, pending) = match fresh {
            Ok(done) => done,
            Err(error) => {
                let _ = self
                    .directory
                    .storage
                    .remove(&self.directory.path_of(&info));
                return Err(error);
            }
        };
        let name = info.display();
        log::warn!("AOF goes on in {name} with everything since the last good fsync");
        self.others_len += self.synced_len;
        self.manifest = next;
        self.take_file(fresh);
        self.settle(written, pending);
        Ok(())
    }

    /// The files hold everything up to `written`, and are synced; whether that lasts depends on the
    /// manifest.
    fn settle(&mut self, written: u64, pending: bool) {
        self.manifest_pending = pending;
        if !pending {
            self.synced_len = self.len;
            self.unsynced.release(written);
            if std::mem::take(&mut self.suspect) {
                self.directory.clear_suspect();
            }
            self.directory.tidy(&mut self.manifest);
        }
    }

    /// Whether no byte of the file waits for a sync.
    pub(crate) fn all_synced(&self) -> bool {
        !self.manifest_pending && !self.sync_failed && self.synced_len == self.len
    }

    /// A new increment with all unsynced chunks, synced.
    fn copy_unsynced(
        &self,
        info: &FileInfo,
        db: Option<u32>,
        synced: u64,
        written: u64,
    ) -> io::Result<Fresh> {
        let mut fresh = create_increment(&self.directory, info, db, synced, self.checksums)?;
        for chunk in self.unsynced.segments() {
            fresh.append(&chunk.bytes)?;
        }
        if self.checksums && fresh.checksum.covered() > 0 {
            fresh.close_checksum(written)?;
        }
        fresh.file.sync_data()?;
        Ok(fresh)
    }

    /// Makes the manifest in force durable, and with it everything up to `written`, the last offset
    /// written before it was put in force.
    pub(crate) fn commit_again(&mut self, written: u64) -> io::Result<()> {
        self.directory
            .commit(&self.manifest)
            .map_err(CommitError::into_io)?;
        self.settle(written, false);
        Ok(())
    }
}

/// New files in force, by [`start_base`].
struct NewBase {
    manifest: Manifest,
    base_len: u64,
    fresh: Fresh,
    pending: bool,
}

/// Makes a base and an increment and puts them in force instead of what the manifest names.
fn start_base(
    directory: &Directory,
    manifest: &Manifest,
    offset: u64,
    checksums: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<NewBase> {
    let mut next = manifest.clone();
    let (base, incr) = next.start_base(&directory.filename);
    let made = write_base(directory, &base, offset, checksums, write).and_then(|base_len| {
        let fresh = create_increment(directory, &incr, None, offset, checksums)?;
        Ok((base_len, fresh))
    });
    let committed = made.and_then(|made| match directory.commit(&next) {
        Ok(()) => Ok((made, false)),
        Err(CommitError::NotDurable(error)) => {
            log::warn!("Fail to fsync AOF directory: {}", errno_text(&error));
            Ok((made, true))
        }
        Err(CommitError::NotDone(error)) => Err(error),
    });
    match committed {
        Ok(((base_len, fresh), pending)) => Ok(NewBase {
            manifest: next,
            base_len,
            fresh,
            pending,
        }),
        Err(error) => {
            for info in [&base, &incr] {
                // Left-overs do no harm: the next attempt uses the same names.
                let _ = directory.storage.remove(&directory.path_of(info));
            }
            Err(error)
        }
    }
}

impl Fresh {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        append_all(&*self.file, bytes).map_err(|(_, error)| error)?;
        self.len += bytes.len() as u64;
        self.checksum.update(bytes);
        Ok(())
    }

    fn close_checksum(&mut self, offset: u64) -> io::Result<()> {
        let line = self.checksum.line(offset);
        self.append(line.as_bytes())?;
        self.checksum = Checksum::new();
        Ok(())
    }
}

impl CommitError {
    fn into_io(self) -> io::Error {
        let (Self::NotDone(error) | Self::NotDurable(error)) = self;
        error
    }
}

/// Makes an increment. Its head selects the database that was selected at this stream offset (a
/// loader starts every file in database 0) and states the offset; the SELECT does not count in it.
fn create_increment(
    directory: &Directory,
    info: &FileInfo,
    db: Option<u32>,
    offset: u64,
    checksums: bool,
) -> io::Result<Fresh> {
    let file = directory
        .storage
        .open(&directory.path_of(info), OpenMode::Create)?;
    let mut fresh = Fresh {
        file,
        len: 0,
        checksum: Checksum::new(),
    };
    let mut head = Vec::new();
    if let Some(db) = db {
        push_select(&mut head, db);
    }
    fresh.append(&head)?;
    if checksums {
        fresh.close_checksum(offset)?;
    }
    fresh.file.sync_data()?;
    Ok(fresh)
}

/// Opens the last increment behind what was loaded.
fn open_last(directory: &Directory, last: &FileInfo, tail: Tail) -> io::Result<Fresh> {
    let file = directory
        .storage
        .open(&directory.path_of(last), OpenMode::Append)?;
    // Bytes an earlier process wrote may still be in the page cache only.
    file.sync_data()?;
    if file.len()? != tail.len {
        return Err(io::Error::other("the file changed while it was loaded"));
    }
    log::info!("Opening AOF incr file {} on server start", last.display());
    Ok(Fresh {
        file,
        len: tail.len,
        checksum: tail.checksum,
    })
}

/// Replaces the last increment by a copy, since syncing it again proves nothing.
fn copy_last(
    directory: &Directory,
    manifest: &mut Manifest,
    last: &FileInfo,
    tail: Tail,
) -> io::Result<Fresh> {
    let info = manifest.next_incr(&directory.filename);
    let from = directory
        .storage
        .open(&directory.path_of(last), OpenMode::Read)?;
    let file = directory
        .storage
        .open(&directory.path_of(&info), OpenMode::Create)?;
    let mut buffer = vec![0; COPY_BUFFER];
    let mut copied = 0;
    while copied < tail.len {
        let want = (tail.len - copied).min(COPY_BUFFER as u64) as usize;
        let part = &mut buffer[..want];
        if read_full(&*from, copied, part)? < want {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        append_all(&*file, part).map_err(|(_, error)| error)?;
        copied += want as u64;
    }
    file.sync_data()?;
    log::warn!(
        "The last fsync of {} had failed: its bytes are written again, to {}",
        last.display(),
        info.display()
    );
    manifest.history.extend(manifest.incr.pop());
    manifest.incr.push(info);
    Ok(Fresh {
        file,
        len: tail.len,
        checksum: tail.checksum,
    })
}

/// Adds the next increment to a manifest; an empty base before it when there is nothing at all, as
/// Redis makes one.
fn add_increment(
    directory: &Directory,
    manifest: &mut Manifest,
    offset: u64,
    checksums: bool,
) -> io::Result<Fresh> {
    if manifest.is_empty() {
        let (base, _) = manifest.start_base(&directory.filename);
        directory
            .storage
            .open(&directory.path_of(&base), OpenMode::Create)?
            .sync_data()?;
        log::info!("Creating AOF base file {} on server start", base.display());
    } else {
        let next = manifest.next_incr(&directory.filename);
        manifest.incr.push(next);
    }
    let info = manifest.incr.last().ok_or(io::ErrorKind::NotFound)?;
    let fresh = create_increment(directory, info, None, offset, checksums)?;
    log::info!("Creating AOF incr file {} on server start", info.display());
    Ok(fresh)
}

/// Writes and syncs a base; returns its length.
fn write_base(
    directory: &Directory,
    base: &FileInfo,
    offset: u64,
    checksums: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<u64> {
    let file = directory
        .storage
        .open(&directory.path_of(base), OpenMode::Create)?;
    let fresh = Fresh {
        file,
        len: 0,
        checksum: Checksum::new(),
    };
    let mut writer = io::BufWriter::with_capacity(COPY_BUFFER, BaseWriter(fresh));
    write(&mut writer)?;
    writer.flush()?;
    let BaseWriter(mut fresh) = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    if checksums {
        fresh.close_checksum(offset)?;
    }
    fresh.file.sync_data()?;
    Ok(fresh.len)
}

struct BaseWriter(Fresh);

impl Write for BaseWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
