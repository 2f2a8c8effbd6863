//! Appending behind the loaded log.

use crate::directory::{CommitError, Directory};
use crate::increment::{self, Fresh};
use crate::load::{Loaded, Tail};
use crate::manifest::{BaseForm, FileInfo, Manifest};
use crate::options::LogOptions;
use crate::preamble::LOG_OFFSET_AUX;
use crate::rdb::{FileWriter, SaveOptions, Version};
use crate::replication::Mark;
use crate::storage::{OpenMode, append_all, read_full};
use crate::writer::Writer;
use std::io;
use std::sync::Arc;

/// Bytes that are copied at once.
const COPY_BUFFER: usize = 256 << 10;

impl Writer {
    /// Opens the last increment, or makes one.
    pub(crate) fn resume(
        directory: Arc<Directory>,
        mut manifest: Manifest,
        loaded: &mut Loaded,
        options: &LogOptions,
    ) -> io::Result<Self> {
        let dropped = manifest.incr.split_off(loaded.increments);
        manifest.history.extend(dropped);
        let open_end = manifest
            .incr
            .last()
            .is_some_and(|last| last.length.is_none());
        let suspect = directory.is_suspect();
        if suspect && open_end {
            copy_unsynced(&directory, &mut manifest, &loaded.lengths)?;
        }
        sync_all(&directory, &mut manifest)?;
        let report = &loaded.report;
        let tail = if open_end { loaded.tail.take() } else { None };
        let (fresh, others_len) = match (manifest.incr.last(), tail) {
            (Some(last), Some(tail)) => {
                let others_len = report.bytes - tail.len;
                (open_last(&directory, last, tail)?, others_len)
            }
            _ => {
                let place = report.place();
                let (fresh, base_len) = add_increment(&directory, &mut manifest, place, options)?;
                (fresh, report.bytes + base_len)
            }
        };
        // Committed also without a change: an earlier process may have left the manifest without
        // making it durable.
        directory.commit(&manifest).map_err(CommitError::into_io)?;
        if suspect {
            directory.clear_suspect();
        }
        directory.tidy(&mut manifest);
        Ok(Self::with_file(
            directory,
            manifest,
            fresh,
            others_len,
            (report.place(), options.checksums),
        ))
    }
}

/// Bytes an earlier process wrote may still be in the page cache only.
fn sync_all(directory: &Directory, manifest: &mut Manifest) -> io::Result<()> {
    let last = manifest.incr.len().saturating_sub(1);
    for (index, info) in manifest.incr.iter_mut().enumerate() {
        if info.unsynced || index == last {
            directory
                .storage
                .open(&directory.path_of(&*info), OpenMode::Append)?
                .sync_data()?;
            info.unsynced = false;
        }
    }
    Ok(())
}

/// Opens the last increment, for appending behind its loaded part.
fn open_last(directory: &Directory, last: &FileInfo, tail: Tail) -> io::Result<Fresh> {
    let file = directory
        .storage
        .open(&directory.path_of(last), OpenMode::Append)?;
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

/// Replaces the increments that were not synced by copies, since a second sync may succeed without
/// saving them. `lengths` are those of all increments.
fn copy_unsynced(
    directory: &Directory,
    manifest: &mut Manifest,
    lengths: &[u64],
) -> io::Result<()> {
    let last = manifest.incr.len().saturating_sub(1);
    let from = manifest.incr.iter().position(|info| info.unsynced);
    let old = manifest.incr.split_off(from.unwrap_or(last));
    // Their numbers must not be given again.
    let mut names = Manifest {
        incr: old.clone(),
        history: manifest.history.clone(),
        ..Manifest::default()
    };
    for (info, &len) in old.iter().zip(lengths.iter().skip(manifest.incr.len())) {
        let copy = names.next_incr(&directory.filename);
        copy_file(directory, info, &copy, len)?;
        names.incr.push(copy);
    }
    manifest.incr.extend(names.incr.split_off(old.len()));
    manifest.history.extend(old);
    Ok(())
}

fn copy_file(directory: &Directory, info: &FileInfo, copy: &FileInfo, len: u64) -> io::Result<()> {
    let from = directory
        .storage
        .open(&directory.path_of(info), OpenMode::Read)?;
    let file = directory
        .storage
        .open(&directory.path_of(copy), OpenMode::Create)?;
    let mut buffer = vec![0; COPY_BUFFER];
    let mut copied = 0;
    while copied < len {
        let want = (len - copied).min(COPY_BUFFER as u64) as usize;
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
        info.display(),
        copy.display()
    );
    Ok(())
}

/// A snapshot of nothing, at this stream offset.
fn empty_rdb(offset: u64, now_s: u64) -> io::Result<Vec<u8>> {
    let options = SaveOptions {
        version: Version::V11,
        compression: false,
        checksum: true,
    };
    let (now_s, offset) = (now_s.to_string(), offset.to_string());
    let aux = [
        ("ctime", now_s.as_str()),
        ("aof-base", "1"),
        (LOG_OFFSET_AUX, &offset),
    ];
    FileWriter::new(Vec::new(), options, &aux)?.finish()
}

/// Adds the next increment to a manifest; an empty base before it when there is nothing at all, as
/// Redis makes one. The length of that base, too.
fn add_increment(
    directory: &Directory,
    manifest: &mut Manifest,
    place: Mark,
    options: &LogOptions,
) -> io::Result<(Fresh, u64)> {
    let mut base_len = 0;
    let next = manifest.next_incr(&directory.filename);
    if manifest.is_empty() {
        let form = match options.rdb_base {
            true => BaseForm::Rdb,
            false => BaseForm::Commands,
        };
        let base = manifest.rebase(&directory.filename, form, None);
        let mut file = Fresh::create(directory, &directory.path_of(&base))?;
        if form == BaseForm::Rdb {
            file.append(&empty_rdb(place.offset, directory.clock.wall_s())?)?;
        }
        file.file.sync_data()?;
        base_len = file.len;
        log::info!("Creating AOF base file {} on server start", base.display());
    }
    let path = directory.path_of(&next);
    let fresh = increment::create(directory, &path, &place, options.checksums)?;
    log::info!("Creating AOF incr file {} on server start", next.display());
    manifest.incr.push(next);
    Ok((fresh, base_len))
}
