//! The parsed arguments of a search.

use resp::Args;
use values::SortedSetView;
use values::geohash::{Area, Point, Shape};

use super::{number, point, unit};
use crate::error::CommandError;

/// The commands of this family, which differ in their syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS: the middle and the radius have fixed places.
    Radius,
    /// GEORADIUSBYMEMBER: the member in the middle and the radius have fixed places.
    RadiusByMember,
    /// GEOSEARCH.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

impl Form {
    /// Argument index of the key that is searched.
    pub(super) fn source(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }
}

/// Which of the results come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The nearest.
    Ascending,
    /// The farthest.
    Descending,
}

/// The form of the middle in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Member,
    Coordinates,
}

/// The shape, without its middle.
enum By {
    Radius(f64),
    Box { width: f64, height: f64 },
    Polygon(Vec<Point>),
}

/// One request.
#[derive(Default)]
pub(super) struct Request {
    from: Option<From>,
    /// Unknown when the member in the middle could not be looked up, because there is no sorted
    /// set.
    center: Option<Point>,
    by: Option<By>,
    /// Metres per unit of the shape.
    unit: f64,
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_place: bool,
    pub(super) order: Option<Order>,
    /// Results wanted; 0 for all.
    pub(super) count: usize,
    /// ANY: the first results found are enough.
    pub(super) any: bool,
    /// Argument index of the destination.
    pub(super) store: Option<usize>,
    /// Distances are stored as scores.
    pub(super) store_distance: bool,
}

impl Request {
    /// Reads the arguments. `members` is the searched sorted set, which has the member in the
    /// middle.
    pub(super) fn parse(
        args: Args<'_>,
        form: Form,
        may_store: bool,
        members: Option<&SortedSetView>,
    ) -> Result<Self, CommandError> {
        let mut request = Self {
            unit: 1.0,
            store: (form == Form::SearchStore).then_some(1),
            ..Self::default()
        };
        let mut index = match form {
            Form::Radius => {
                request.center = Some(point(args, 2)?);
                request.radius(args, 4)?;
                6
            }
            Form::RadiusByMember => {
                if let Some(members) = members {
                    request.center = Some(place_of(members, args.arg(2))?);
                    request.radius(args, 3)?;
                }
                5
            }
            Form::Search => 2,
            Form::SearchStore => 3,
        };
        while index < args.len() {
            let read = match request.option(args, index, form, may_store)? {
                0 if form.is_search() => request.shape(args, index, members)?,
                read => read,
            };
            if read == 0 {
                return Err(CommandError::Syntax);
            }
            index += read;
        }
        request.check(args, form)?;
        if request.count > 0 && request.order.is_none() && !request.any {
            request.order = Some(Order::Ascending);
        }
        Ok(request)
    }

    /// Reads an option of all forms; returns the number of arguments it has, 0 when it is none.
    fn option(
        &mut self,
        args: Args<'_>,
        index: usize,
        form: Form,
        may_store: bool,
    ) -> Result<usize, CommandError> {
        let is = |word: &[u8]| args.arg(index).eq_ignore_ascii_case(word);
        let has_value = index + 1 < args.len();
        match () {
            () if is(b"withdist") => self.with_distance = true,
            () if is(b"withhash") => self.with_hash = true,
            () if is(b"withcoord") => self.with_place = true,
            () if is(b"any") => self.any = true,
            () if is(b"asc") => self.order = Some(Order::Ascending),
            () if is(b"desc") => self.order = Some(Order::Descending),
            () if is(b"count") && has_value => {
                self.count = count(args.arg(index + 1))?;
                return Ok(2);
            }
            () if is(b"storedist") && form == Form::SearchStore => self.store_distance = true,
            () if may_store && !form.is_search() && has_value => {
                if !is(b"store") && !is(b"storedist") {
                    return Ok(0);
                }
                self.store = Some(index + 1);
                self.store_distance = is(b"storedist");
                return Ok(2);
            }
            () => return Ok(0),
        }
        Ok(1)
    }

    /// Reads where and what to search, in the words of GEOSEARCH.
    fn shape(
        &mut self,
        args: Args<'_>,
        index: usize,
        members: Option<&SortedSetView>,
    ) -> Result<usize, CommandError> {
        let is = |word: &[u8]| args.arg(index).eq_ignore_ascii_case(word);
        let values = args.len() - index - 1;
        let (is_radius, is_box, is_polygon) = match &self.by {
            None => (false, false, false),
            Some(By::Radius(_)) => (true, false, false),
            Some(By::Box { .. }) => (false, true, false),
            Some(By::Polygon(_)) => (false, false, true),
        };
        let from = self.from;
        match () {
            () if is(b"frommember")
                && values >= 1
                && from != Some(From::Coordinates)
                && !is_polygon =>
            {
                if let Some(members) = members {
                    self.center = Some(place_of(members, args.arg(index + 1))?);
                }
                self.from = Some(From::Member);
                Ok(2)
            }
            () if is(b"fromlonlat") && values >= 2 && from != Some(From::Member) && !is_polygon => {
                self.center = Some(point(args, index + 1)?);
                self.from = Some(From::Coordinates);
                Ok(3)
            }
            () if is(b"byradius") && values >= 2 && !is_box && !is_polygon => {
                self.radius(args, index + 1)?;
                Ok(3)
            }
            () if is(b"bybox") && values >= 3 && !is_radius && !is_polygon => {
                self.rectangle(args, index + 1)?;
                Ok(4)
            }
            () if is(b"bypolygon") && values >= 2 && !is_radius && !is_box && from.is_none() => {
                let vertices = polygon(args.skip(index + 1))?;
                let read = 2 + 2 * vertices.len();
                (self.by, self.unit) = (Some(By::Polygon(vertices)), 1.0);
                Ok(read)
            }
            () => Ok(0),
        }
    }

    fn radius(&mut self, args: Args<'_>, index: usize) -> Result<(), CommandError> {
        let error = CommandError::line("ERR need numeric radius");
        let radius = number(args.arg(index), error)?;
        if radius < 0.0 {
            return Err(CommandError::line("ERR radius cannot be negative"));
        }
        self.unit = unit(args.arg(index + 1))?;
        self.by = Some(By::Radius(radius));
        Ok(())
    }

    fn rectangle(&mut self, args: Args<'_>, index: usize) -> Result<(), CommandError> {
        let error = CommandError::line("ERR need numeric width");
        let width = number(args.arg(index), error)?;
        let error = CommandError::line("ERR need numeric height");
        let height = number(args.arg(index + 1), error)?;
        if width < 0.0 || height < 0.0 {
            return Err(CommandError::line("ERR height or width cannot be negative"));
        }
        self.unit = unit(args.arg(index + 2))?;
        self.by = Some(By::Box { width, height });
        Ok(())
    }

    /// Refuses contradictory or missing options.
    fn check(&self, args: Args<'_>, form: Form) -> Result<(), CommandError> {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            return Err(CommandError::line(if form == Form::SearchStore {
                "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            } else {
                "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            }));
        }
        let missing = |what: &str| {
            let mut line = format!("ERR exactly one of {what} can be specified for ").into_bytes();
            line.extend_from_slice(args.arg(0));
            Err(CommandError::Bytes(line))
        };
        let is_polygon = matches!(self.by, Some(By::Polygon(_)));
        if form.is_search() && self.from.is_none() && !is_polygon {
            return missing("FROMMEMBER or FROMLONLAT");
        }
        if form.is_search() && self.by.is_none() {
            return missing("BYRADIUS, BYBOX and BYPOLYGON");
        }
        if self.any && self.count == 0 {
            return Err(CommandError::line(
                "ERR the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }

    /// The area to search, when it is known.
    pub(super) fn area(&mut self) -> Option<Area> {
        let shape = match self.by.take()? {
            By::Radius(radius) => Shape::Circle {
                center: self.center?,
                radius,
            },
            By::Box { width, height } => Shape::Rectangle {
                center: self.center?,
                width,
                height,
            },
            By::Polygon(vertices) => Shape::Polygon(vertices),
        };
        Some(Area::new(shape, self.unit))
    }
}

fn count(text: &[u8]) -> Result<usize, CommandError> {
    let count = resp::number::parse_i64(text).ok_or(CommandError::NotInteger)?;
    if count <= 0 {
        return Err(CommandError::line("ERR COUNT must be > 0"));
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The vertices of a polygon, after their number.
fn polygon(args: Args<'_>) -> Result<Vec<Point>, CommandError> {
    let count = resp::number::parse_i64(args.arg(0))
        .and_then(|count| i32::try_from(count).ok())
        .ok_or(CommandError::line("ERR invalid number of vertices"))?;
    let count = usize::try_from(count).unwrap_or(0);
    if count < 3 || (args.len() - 1) / 2 < count {
        return Err(CommandError::line(
            "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices",
        ));
    }
    (0..count)
        .map(|vertex| point(args, 1 + 2 * vertex))
        .collect()
}

/// The place of the member in the middle, which must be there.
fn place_of(members: &SortedSetView, member: &[u8]) -> Result<Point, CommandError> {
    members.score(member).map(Point::of_score).ok_or_else(|| {
        let line = [b"ERR member ", member, b" does not exist"].concat();
        CommandError::Bytes(line)
    })
}
