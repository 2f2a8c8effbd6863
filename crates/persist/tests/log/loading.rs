//! Loading what is whole, torn, damaged or old.

use crate::support::*;
use persist::rdb::{FileWriter, SaveOptions, Version};
use persist::storage::Memory;
use persist::{LoadError, LoadReport, LogOptions, Truncated};

fn strict() -> LogOptions {
    LogOptions {
        load_truncated: false,
        ..options()
    }
}

fn error_of(bytes: &[u8]) -> String {
    load_only(with_increment(bytes), &options())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_missing_directory_is_an_empty_log() {
    let (report, ran_now) = load_only(Memory::new(), &options()).unwrap();
    assert_eq!((report.files, ran_now.len()), (0, 0));
}

#[test]
fn files_of_redis_load() {
    let memory = Memory::new();
    memory.write(
        MANIFEST,
        b"# made by hand\nfile appendonly.aof.1.base.aof seq 1 type b\n\
          file appendonly.aof.1.incr.aof seq 1 type h\n\
          file appendonly.aof.2.incr.aof seq 2 type i startoffset 0 endoffset 55\n\
          file appendonly.aof.3.incr.aof seq 3 type i\n",
    );
    let select = record(&["SELECT", "4"]);
    memory.write(
        BASE_1,
        &[select.clone(), record(&["SET", "a", "1"])].concat(),
    );
    memory.write(
        INCR_2,
        &[b"#TS:1700000000\r\n".to_vec(), record(&["SET", "b", "1"])].concat(),
    );
    memory.write("appendonlydir/appendonly.aof.3.incr.aof", b"");
    let (report, ran_now) = load_only(memory.clone(), &options()).unwrap();
    // Every file starts in database 0.
    assert_eq!(
        ran_now,
        [ran(4, &["SET", "a", "1"]), ran(0, &["SET", "b", "1"])]
    );
    assert_eq!((report.files, report.truncated), (3, None));
    // Going on removes the history and appends to the last file.
    let (log, ..) = open(memory.clone(), options()).unwrap();
    append(&log, 0, &["SET", "c", "1"]);
    log.close().unwrap();
    assert!(!text(&memory, MANIFEST).contains("type h"));
    let (_, ran_now) = load_only(memory, &options()).unwrap();
    assert_eq!(ran_now.len(), 3);
}

#[test]
fn an_old_single_file_is_taken_over() {
    let memory = Memory::new();
    memory.write("appendonly.aof", &record(&["SET", "a", "1"]));
    let (log, _, ran_now) = open(memory.clone(), options()).unwrap();
    assert_eq!(ran_now, [ran(0, &["SET", "a", "1"])]);
    append(&log, 0, &["SET", "b", "1"]);
    log.close().unwrap();
    assert!(memory.read("appendonly.aof").is_none());
    assert_eq!(
        text(&memory, MANIFEST),
        "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    );
    assert_eq!(load_only(memory, &options()).unwrap().1.len(), 2);
}

#[test]
fn a_half_done_upgrade_is_finished() {
    let memory = Memory::new();
    memory.write("appendonly.aof", &record(&["SET", "a", "1"]));
    memory.write(MANIFEST, b"file appendonly.aof seq 1 type b\n");
    assert_eq!(load_only(memory.clone(), &options()).unwrap().1.len(), 1);
    // A log that is in use is not replaced by an old file that lies about.
    memory.write("appendonly.aof", &record(&["SET", "stale", "1"]));
    assert_eq!(
        load_only(memory, &options()).unwrap().1,
        [ran(0, &["SET", "a", "1"])]
    );
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    for n in 0..3 {
        append(&log, n, &["ADD", &n.to_string(), "a\r\nb\0"]);
        log.flush().unwrap();
    }
    log.append(
        2,
        &[
            record(&["MULTI"]),
            record(&["ADD", "3"]),
            record(&["ADD", "4"]),
            record(&["EXEC"]),
        ]
        .concat(),
        0,
    );
    log.close().unwrap();
    let whole = memory.read(INCR_1).unwrap();
    let all = load_only(with_increment(&whole), &options()).unwrap().1;
    assert_eq!(all.len(), 5);
    let mut counts = Vec::new();
    for end in 0..whole.len() {
        let memory = with_increment(&whole[..end]);
        let (log, report, ran_now) = open(memory.clone(), options()).unwrap();
        assert_eq!(ran_now, all[..ran_now.len()], "cut at {end}");
        assert_ne!(ran_now.len(), 4, "half a transaction, cut at {end}");
        counts.push(ran_now.len());
        let dropped = report.truncated.as_ref().map_or(0, |cut| cut.dropped);
        assert_eq!(report.bytes + dropped, end as u64);
        match load_only(with_increment(&whole[..end]), &strict()) {
            Ok((report, _)) => assert!(report.truncated.is_none() && dropped == 0),
            Err(LoadError::UnexpectedEnd { offset, .. }) => assert_eq!(offset, report.bytes),
            Err(error) => panic!("cut at {end}: {error}"),
        }
        // What is appended behind the cut loads.
        append(&log, 7, &["ADD", "more"]);
        log.close().unwrap();
        let (_, ran_later) = load_only(memory, &strict()).unwrap();
        assert_eq!(ran_later.len(), ran_now.len() + 1);
        assert_eq!(ran_later.last(), Some(&ran(7, &["ADD", "more"])));
    }
    assert!(counts.is_sorted());
}

#[test]
fn zeros_at_the_end_are_a_torn_tail() {
    let mut bytes = record(&["ADD", "0"]);
    let whole = bytes.len() as u64;
    bytes.extend_from_slice(b"*2\r\n$3\r\nADD\r\n$5\r\nab");
    bytes.extend_from_slice(&[0; 9000]);
    let (report, ran_now) = load_only(with_increment(&bytes), &options()).unwrap();
    assert_eq!(ran_now.len(), 1);
    let expected = Truncated {
        file: "appendonly.aof.1.incr.aof".to_owned(),
        offset: whole,
        dropped: bytes.len() as u64 - whole,
        transaction: false,
    };
    assert_eq!(report.truncated, Some(expected));
}

#[test]
fn an_open_transaction_is_reverted() {
    let bytes = [
        record(&["ADD", "0"]),
        record(&["MULTI"]),
        record(&["ADD", "1"]),
    ]
    .concat();
    let memory = with_increment(&bytes);
    let (report, ran_now) = load_only(memory.clone(), &options()).unwrap();
    assert_eq!(ran_now, [ran(0, &["ADD", "0"])]);
    assert!(report.truncated.unwrap().transaction);
    assert_eq!(memory.read(INCR_1).unwrap(), record(&["ADD", "0"]));
}

#[test]
fn only_the_last_file_may_be_torn() {
    let memory = Memory::new();
    memory.write(
        MANIFEST,
        b"file appendonly.aof.1.incr.aof seq 1 type i\nfile appendonly.aof.2.incr.aof seq 2 type i\n",
    );
    memory.write(INCR_1, b"*1\r\n$4\r\nPI");
    memory.write(INCR_2, &record(&["ADD", "0"]));
    let error = load_only(memory.clone(), &options())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("Fatal error: the truncated file is not the last file"),
        "{error}"
    );
    assert_eq!(memory.read(INCR_1).unwrap(), b"*1\r\n$4\r\nPI");
}

#[test]
fn flipped_bits_under_a_checksum_are_found() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    // Its length has three digits: a flip makes it reach beyond the end of the file.
    append(&log, 0, &["ADD", "0", &"value".repeat(20)]);
    log.append(
        0,
        &[record(&["MULTI"]), record(&["ADD", "1"]), record(&["EXEC"])].concat(),
        0,
    );
    append(&log, 12, &["ADD", "2"]);
    log.close().unwrap();
    let whole = memory.read(INCR_1).unwrap();
    let head = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let closing = whole
        .windows(5)
        .rposition(|window| window == b"#CRC:")
        .unwrap();
    for at in head..closing {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            let result = load_only(with_increment(&damaged), &options());
            assert!(result.is_err(), "bit {bit} of byte {at} was not missed");
        }
    }
    // In the checksum line itself a flip may make the line unknown; it never changes what loads.
    for at in closing..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            if let Ok((_, ran_now)) = load_only(with_increment(&damaged), &options()) {
                assert_eq!(ran_now.len(), 3);
            }
        }
    }
}

#[test]
fn a_bad_checksum_names_file_and_range() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    append(&log, 0, &["ADD", "value"]);
    log.close().unwrap();
    let damaged = text(&memory, INCR_1).replace("value", "valve");
    assert_eq!(
        error_of(damaged.as_bytes()),
        "Bad checksum in the append only file appendonly.aof.1.incr.aof: the bytes from offset 29 \
         to 76 are not those that were written"
    );
}

#[test]
fn missing_records_are_found_by_the_stream_offset() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    for second in 1..=3 {
        append(&log, 0, &["ADD", &second.to_string()]);
        log.service(second * 1_000);
    }
    log.close().unwrap();
    let file = text(&memory, INCR_1);
    // The range between the second and the third checksum line, closed by the latter.
    let lines: Vec<usize> = file.match_indices("#CRC:").map(|(at, _)| at).collect();
    let end_of = |line: usize| line + file[line..].find('\n').unwrap() + 1;
    let without = [&file[..end_of(lines[1])], &file[end_of(lines[2])..]].concat();
    let error = error_of(without.as_bytes());
    assert!(
        error.starts_with("Records are missing or repeated in the append only file"),
        "{error}"
    );
}

#[test]
fn a_damaged_base_is_found() {
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    log.start_new_base(|out| out.write_all(&record(&["ADD", "value"])))
        .unwrap();
    log.close().unwrap();
    let path = "appendonlydir/appendonly.aof.2.base.aof";
    let damaged = text(&memory, path).replace("value", "valve");
    memory.write(path, damaged.as_bytes());
    let error = load_only(memory, &options()).unwrap_err();
    assert!(matches!(error, LoadError::Checksum { .. }), "{error}");
}

#[test]
fn bad_formats_have_the_texts_of_redis() {
    for bytes in [
        &b"hello\r\n"[..],
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n+PING\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"*x\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*1\r\n$4\r\nEXEC\r\n",
        b"*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nMULTI\r\n",
        b"#CRC:xyz OFF:1\r\n",
    ] {
        let error = error_of(bytes);
        let start = "Bad file format reading the append only file appendonly.aof.1.incr.aof: make \
                     a backup of your AOF file, then use ./redis-check-aof --fix \
                     <filename.manifest>";
        assert!(error.starts_with(start), "{error}");
    }
    let error = load_only(with_increment(b"*1\r\n$4\r\nPI"), &strict())
        .unwrap_err()
        .to_string();
    let start = "Unexpected end of file reading the append only file appendonly.aof.1.incr.aof. \
                 You can: 1) Make a backup of your AOF file, then use ./redis-check-aof --fix \
                 <filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' \
                 configuration option to yes and restart the server.";
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn a_claimed_length_costs_no_memory() {
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\nshort".to_vec();
    let (report, ran_now) = load_only(with_increment(&bytes), &options()).unwrap();
    assert_eq!((ran_now.len(), report.bytes), (0, 0));
    let bytes = b"*2147483647\r\n$3\r\nSET\r\n".to_vec();
    assert!(
        load_only(with_increment(&bytes), &options())
            .unwrap()
            .1
            .is_empty()
    );
}

#[test]
fn records_larger_than_the_window_load() {
    let big = "v".repeat(3 << 20);
    let memory = Memory::new();
    let (log, ..) = open(memory.clone(), options()).unwrap();
    for n in 0..3 {
        append(&log, 0, &["ADD", &n.to_string(), &big]);
    }
    log.close().unwrap();
    let mut target = Collected::default();
    let report = persist::load(std::sync::Arc::new(memory), &options(), &mut target).unwrap();
    assert_eq!(report.commands, 4);
    assert!(
        target
            .ran
            .iter()
            .all(|(_, words)| words[2].len() == big.len())
    );
    assert!(target.seen.is_sorted());
    assert_eq!(target.seen.last(), Some(&(report.bytes, report.bytes)));
}

const RDB_MANIFEST: &[u8] = b"file appendonly.aof.1.base.rdb seq 1 type b\n\
    file appendonly.aof.1.incr.aof seq 1 type i\n";
const RDB_BASE: &str = "appendonlydir/appendonly.aof.1.base.rdb";

/// A file in RDB form with two strings, in databases 0 and 3.
fn rdb(aux: &[(&str, &str)], checksum: bool) -> Vec<u8> {
    let options = SaveOptions {
        version: Version::V11,
        compression: true,
        checksum,
    };
    let mut file = FileWriter::new(Vec::new(), options, aux).unwrap();
    file.entries(0, b"\x00\x01a\x011").unwrap();
    file.entries(3, b"\x00\x01b\x012").unwrap();
    file.finish().unwrap()
}

fn entries() -> Vec<(u32, String)> {
    vec![(0, "a".to_owned()), (3, "b".to_owned())]
}

fn collect(memory: Memory) -> (LoadReport, Collected) {
    let mut target = Collected::default();
    let report = persist::load(std::sync::Arc::new(memory), &options(), &mut target).unwrap();
    (report, target)
}

#[test]
fn a_base_in_rdb_form_loads_before_its_increments() {
    for checksum in [true, false] {
        let memory = Memory::new();
        memory.write(MANIFEST, RDB_MANIFEST);
        let base = rdb(&[(persist::LOG_OFFSET_AUX, "500")], checksum);
        memory.write(RDB_BASE, &base);
        memory.write(INCR_1, &record(&["ADD", "0"]));
        let (report, target) = collect(memory.clone());
        assert_eq!(target.entries, entries());
        assert_eq!(target.ran, [ran(0, &["ADD", "0"])]);
        assert_eq!((report.entries, report.commands), (2, 1));
        assert_eq!(report.base_bytes, base.len() as u64);
        assert_eq!(report.offset, 500 + record(&["ADD", "0"]).len() as u64);
        assert!(target.seen.is_sorted());
        assert_eq!(target.seen.last(), Some(&(report.bytes, report.bytes)));
        let (log, again, _) = open(memory, options()).unwrap();
        assert_eq!(
            (log.appended(), again.base_bytes),
            (report.offset, report.base_bytes)
        );
    }
}

#[test]
fn an_old_single_file_may_begin_in_rdb_form() {
    for checksum in [true, false] {
        let memory = Memory::new();
        let mut file = rdb(&[], checksum);
        let base = file.len();
        file.extend_from_slice(b"#TS:1\r\n");
        file.extend_from_slice(&record(&["ADD", "0"]));
        let whole = file.len();
        file.extend_from_slice(b"*2\r\n$3\r\nAD");
        memory.write("appendonly.aof", &file);
        let (report, target) = collect(memory.clone());
        assert_eq!(
            (target.entries, target.ran),
            (entries(), vec![ran(0, &["ADD", "0"])])
        );
        assert_eq!(report.truncated.unwrap().offset, whole as u64);

        let memory = Memory::new();
        memory.write("appendonly.aof", &file[..base]);
        let (report, target) = collect(memory);
        assert_eq!((target.entries, report.truncated), (entries(), None));
    }
}

#[test]
fn checksum_lines_count_from_the_end_of_the_rdb_part() {
    let tail = record(&["ADD", "0"]);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, &tail);
    for (crc, good) in [(crc, true), (crc ^ 1, false)] {
        let memory = Memory::new();
        let mut file = rdb(&[], true);
        file.extend_from_slice(&tail);
        file.extend_from_slice(format!("#CRC:{crc:016x} OFF:77\r\n").as_bytes());
        memory.write("appendonly.aof", &file);
        assert_eq!(load_only(memory, &options()).is_ok(), good);
    }
}

#[test]
fn damage_of_a_base_in_rdb_form_is_an_error() {
    let base = rdb(&[], true);
    for cut in [7, 9, 20, base.len() - 1] {
        let memory = Memory::new();
        memory.write(MANIFEST, b"file appendonly.aof.1.base.rdb seq 1 type b\n");
        memory.write(RDB_BASE, &base[..cut]);
        let error = load_only(memory, &options()).unwrap_err().to_string();
        let start =
            "Error reading the RDB base file appendonly.aof.1.base.rdb, AOF loading aborted: ";
        assert!(error.starts_with(start), "{error}");
    }
    let memory = Memory::new();
    memory.write("appendonly.aof", b"REDIS0011\xfa\x09redis-ver");
    let error = load_only(memory, &options()).unwrap_err().to_string();
    assert!(error.starts_with("Error reading the RDB preamble of the AOF file appendonly.aof"));
}

#[test]
fn commands_that_fail_end_the_loading() {
    assert_eq!(
        error_of(&record(&["nonsense"])),
        "Error reading the append only file appendonly.aof.1.incr.aof, error: ERR unknown command \
         'nonsense' (at offset 0)"
    );
}

#[test]
fn files_must_be_there_and_long_enough() {
    let memory = Memory::new();
    memory.write(MANIFEST, b"file appendonly.aof.1.incr.aof seq 1 type i\n");
    let error = load_only(memory.clone(), &options())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("Unable to obtain the AOF file "),
        "{error}"
    );
    memory.write(
        MANIFEST,
        b"file appendonly.aof.1.incr.aof seq 1 type i length 99\n",
    );
    memory.write(INCR_1, &record(&["ADD", "0"]));
    let error = load_only(memory, &options()).unwrap_err();
    assert!(
        matches!(error, LoadError::TooShort { expected: 99, .. }),
        "{error}"
    );
}

#[test]
fn a_closed_file_counts_up_to_its_length() {
    let memory = Memory::new();
    let (first, second) = (record(&["ADD", "0"]), record(&["ADD", "1"]));
    let manifest = format!(
        "file appendonly.aof.1.incr.aof seq 1 type i length {}\n",
        first.len()
    );
    memory.write(MANIFEST, manifest.as_bytes());
    memory.write(INCR_1, &[first.clone(), second].concat());
    let (log, _, ran_now) = open(memory.clone(), options()).unwrap();
    assert_eq!(ran_now.len(), 1);
    append(&log, 0, &["ADD", "2"]);
    log.close().unwrap();
    assert_eq!(memory.read(INCR_1).unwrap(), first);
    let (_, ran_now) = load_only(memory, &options()).unwrap();
    assert_eq!(ran_now, [ran(0, &["ADD", "0"]), ran(0, &["ADD", "2"])]);
}
