//! Packed forms of old versions: ziplists and zipmaps.

use values::listpack::Listpack;
use values::{Element, Malformed};

/// The end of both forms.
const END: u8 = 0xff;

/// The byte before a length of four bytes in both forms.
const LONG: u8 = 0xfe;

const CUT_OFF: Malformed = Malformed("ziplist entry beyond the end");

/// The elements of a ziplist as a listpack.
///
/// ```text
/// bytes (4)  offset of the last entry (4)  number of entries (2)  entries  ff     low bytes first
///
/// entry:  length of the entry before (1 byte, or fe and 4 bytes), then
///   00LLLLLL ..                      text, its length in 6 bits
///   01LLLLLL LLLLLLLL ..             in 14 bits, the high ones first
///   10...... LLLLLLLL x 4 ..         in 32 bits, the high ones first
///   c0 d0 e0 f0 fe                   integers of 2, 4, 8, 3, 1 bytes, low ones first
///   f1 to fd                         integers 0 to 12
/// ```
pub(super) fn of_ziplist(bytes: &[u8]) -> Result<Listpack, Malformed> {
    let (head, rest) = bytes.split_first_chunk::<10>().ok_or(CUT_OFF)?;
    let [b0, b1, b2, b3, t0, t1, t2, t3, c0, c1] = *head;
    let (&end, mut rest) = rest.split_last().ok_or(CUT_OFF)?;
    if u32::from_le_bytes([b0, b1, b2, b3]) as usize != bytes.len() {
        return Err(Malformed("ziplist of another length than its header says"));
    }
    if end != END {
        return Err(Malformed("ziplist without end"));
    }
    let mut pack = Listpack::new();
    let (mut count, mut before, mut last) = (0usize, 0, head.len());
    while !rest.is_empty() {
        let at = rest;
        let previous = previous_len(&mut rest)?;
        if previous != before {
            return Err(Malformed("ziplist entry with a wrong length before it"));
        }
        let fits = match take_element(&mut rest)? {
            Element::Int(value) => pack.push_back_int(value),
            Element::Bytes(text) => pack.push_back(text),
        };
        if !fits {
            return Err(Malformed("ziplist that is too large"));
        }
        last = bytes.len() - 1 - at.len();
        before = at.len() - rest.len();
        count += 1;
    }
    let tail = u32::from_le_bytes([t0, t1, t2, t3]) as usize;
    if count > 0 && tail != last || tail >= bytes.len() {
        return Err(Malformed("ziplist whose last entry is elsewhere"));
    }
    let stored = u16::from_le_bytes([c0, c1]);
    if stored != u16::MAX && usize::from(stored) != count {
        return Err(Malformed(
            "ziplist with another number of entries than its header says",
        ));
    }
    Ok(pack)
}

fn take<const LEN: usize>(rest: &mut &[u8]) -> Result<[u8; LEN], Malformed> {
    let (bytes, after) = rest.split_first_chunk().ok_or(CUT_OFF)?;
    *rest = after;
    Ok(*bytes)
}

fn previous_len(rest: &mut &[u8]) -> Result<usize, Malformed> {
    match take(rest)? {
        [END] => Err(Malformed("ziplist that ends in its middle")),
        [LONG] => Ok(u32::from_le_bytes(take(rest)?) as usize),
        [short] => Ok(short.into()),
    }
}

fn take_element<'a>(rest: &mut &'a [u8]) -> Result<Element<'a>, Malformed> {
    let [first] = take(rest)?;
    let low = usize::from(first & 0x3f);
    let len = match (first >> 6, first) {
        (0, _) => low,
        (1, _) => {
            let [second] = take(rest)?;
            low << 8 | usize::from(second)
        }
        (2, _) => u32::from_be_bytes(take(rest)?) as usize,
        (_, 0xc0) => return Ok(Element::Int(i16::from_le_bytes(take(rest)?).into())),
        (_, 0xd0) => return Ok(Element::Int(i32::from_le_bytes(take(rest)?).into())),
        (_, 0xe0) => return Ok(Element::Int(i64::from_le_bytes(take(rest)?))),
        (_, 0xf0) => {
            let [low, middle, high] = take(rest)?;
            let shifted = i32::from_le_bytes([0, low, middle, high]);
            return Ok(Element::Int((shifted >> 8).into()));
        }
        (_, 0xfe) => return Ok(Element::Int(i8::from_le_bytes(take(rest)?).into())),
        (_, small @ 0xf1..=0xfd) => return Ok(Element::Int(i64::from(small) - 0xf1)),
        _ => return Err(Malformed("ziplist entry of unknown encoding")),
    };
    let (text, after) = rest.split_at_checked(len).ok_or(CUT_OFF)?;
    *rest = after;
    Ok(Element::Bytes(text))
}

/// The fields and values of a zipmap as a listpack, and the length of the longest of them.
///
/// ```text
/// count  { length field  length free value (free bytes) }  ff
/// ```
/// Lengths are one byte below 254, else fe and four bytes, low ones first. `free` is one byte. A
/// count of 254 and more means that it is unknown.
pub(super) fn of_zipmap(bytes: &[u8]) -> Result<(Listpack, usize), Malformed> {
    const CUT_OFF: Malformed = Malformed("zipmap entry beyond the end");
    let (&stored, rest) = bytes.split_first().ok_or(CUT_OFF)?;
    let (&end, mut rest) = rest.split_last().ok_or(CUT_OFF)?;
    if end != END {
        return Err(Malformed("zipmap without end"));
    }
    let mut pack = Listpack::new();
    let (mut count, mut longest) = (0usize, 0);
    while !rest.is_empty() {
        let len = zipmap_len(&mut rest)?;
        let (field, after) = rest.split_at_checked(len).ok_or(CUT_OFF)?;
        rest = after;
        let len = zipmap_len(&mut rest)?;
        let [free] = take(&mut rest).map_err(|_| CUT_OFF)?;
        let (value, after) = rest.split_at_checked(len).ok_or(CUT_OFF)?;
        rest = after.get(usize::from(free)..).ok_or(CUT_OFF)?;
        if !(pack.push_back(field) && pack.push_back(value)) {
            return Err(Malformed("zipmap that is too large"));
        }
        longest = longest.max(field.len()).max(value.len());
        count += 1;
    }
    if stored < LONG && usize::from(stored) != count {
        return Err(Malformed(
            "zipmap with another number of fields than its header says",
        ));
    }
    Ok((pack, longest))
}

fn zipmap_len(rest: &mut &[u8]) -> Result<usize, Malformed> {
    match take(rest)? {
        [END] => Err(Malformed("zipmap that ends in its middle")),
        [LONG] => match u32::from_le_bytes(take(rest)?) as usize {
            len if len < usize::from(LONG) => {
                Err(Malformed("zipmap with a longer length than needed"))
            }
            len => Ok(len),
        },
        [short] => Ok(short.into()),
    }
}
