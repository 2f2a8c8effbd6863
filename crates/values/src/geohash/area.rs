//! Areas to search: circles, rectangles and polygons.

use super::cell::{Cell, deinterleave};
use super::{EARTH_RADIUS, LATITUDES, LONGITUDES, Origin, Point, STEPS, degrees, radians, whole};
use smallvec::SmallVec;
use std::f64::consts::FRAC_PI_2;
use std::ops::RangeInclusive;

/// Half of the equator on web maps, in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;

/// The shape of a search. Lengths are in units of the [`Area`].
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Places not farther than the radius.
    Circle {
        /// Its middle.
        center: Point,
        /// Not negative.
        radius: f64,
    },
    /// Places not farther than half of the width along their parallel, and half of the height along
    /// a meridian.
    Rectangle {
        /// Its middle.
        center: Point,
        /// From west to east; not negative.
        width: f64,
        /// From south to north; not negative.
        height: f64,
    },
    /// Places inside, as if the earth were flat; it does not reach beyond the 180th meridian.
    Polygon(Vec<Point>),
}

/// The position of a square relative to an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// No place of it is in the area.
    Nothing,
    /// Some may be.
    Part,
    /// Nothing is gained by looking at parts of it.
    All,
}

/// A shape with what the test of a place needs.
#[derive(Clone, Debug)]
pub struct Area {
    shape: Shape,
    /// Metres per unit.
    unit: f64,
    center: Point,
    origin: Origin,
    window: Window,
    /// The limits of polygons, else nothing of use.
    limits: Limits,
}

/// Outermost longitudes and latitudes, in degrees.
#[derive(Clone, Copy, Debug)]
struct Limits {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

impl Area {
    /// The area of a shape whose lengths are in units of so many metres.
    pub fn new(shape: Shape, unit: f64) -> Area {
        let (center, limits) = match &shape {
            Shape::Circle { center, radius } => {
                (*center, limits(*center, unit * radius, unit * radius))
            }
            Shape::Rectangle {
                center,
                width,
                height,
            } => (
                *center,
                limits(*center, unit * width / 2.0, unit * height / 2.0),
            ),
            Shape::Polygon(vertices) => (centroid(vertices), polygon_limits(vertices)),
        };
        let window = match &shape {
            Shape::Circle { radius, .. } => Window::circle(center, radius * unit),
            Shape::Rectangle { width, height, .. } => {
                Window::rectangle(center, width * unit, height * unit)
            }
            Shape::Polygon(_) => Window::of(limits),
        };
        Area {
            shape,
            unit,
            center,
            origin: Origin::new(center),
            window,
            limits,
        }
    }

    /// Metres per unit.
    pub fn unit(&self) -> f64 {
        self.unit
    }

    #[cfg(test)]
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    #[cfg(test)]
    pub(super) fn center(&self) -> Point {
        self.center
    }

    /// Degrees from the middle to the limits, to the east and to the north.
    #[cfg(test)]
    pub(super) fn limits(&self) -> (f64, f64) {
        let limit = |degrees: f64, most: f64| {
            if degrees.abs() < most {
                degrees.abs()
            } else {
                most
            }
        };
        (
            limit(self.limits.east - self.center.longitude, 180.0),
            limit(self.limits.north - self.center.latitude, 90.0),
        )
    }

    /// Metres from the middle to the place of a score, `None` when it is not in the area.
    #[inline]
    pub fn distance(&self, score: f64) -> Option<f64> {
        let (longitude, latitude) = deinterleave(whole(score));
        if !self.window.contains(longitude, latitude) {
            return None;
        }
        let place = Point::of_steps(longitude, latitude);
        match &self.shape {
            Shape::Circle { radius, .. } => {
                let distance = self.origin.distance(place);
                (distance <= radius * self.unit).then_some(distance)
            }
            Shape::Rectangle { width, height, .. } => {
                self.distance_in_rectangle(place, width * self.unit, height * self.unit)
            }
            Shape::Polygon(vertices) => {
                is_inside(vertices, place).then(|| self.origin.distance(place))
            }
        }
    }

    fn distance_in_rectangle(&self, place: Point, width: f64, height: f64) -> Option<f64> {
        if self.origin.latitude_distance(place.latitude) > height / 2.0 {
            return None;
        }
        let across = self.origin.longitude_sine(place.longitude);
        let cosine = radians(place.latitude).cos();
        if Origin::longitude_distance(across, cosine) > width / 2.0 {
            return None;
        }
        Some(self.origin.distance_with(place.latitude, across, cosine))
    }

    /// Whether a square has places in the area. Never `Nothing` when it has.
    pub fn overlap(&self, cell: Cell) -> Overlap {
        self.window.overlap(cell)
    }

    /// Squares that have all places of the area, in the order in which they are searched: that of
    /// the middle, then those around it as far as they are needed.
    pub fn cells(&self) -> SmallVec<[Cell; 9]> {
        if !self.center.is_valid() {
            // The middle of a polygon around a pole: squares around it would lie beyond the end of
            // the map.
            let west = Cell::around(
                Point {
                    longitude: -90.0,
                    latitude: -45.0,
                },
                1,
            );
            let halves = [west, west.neighbour(0, 1)];
            return halves
                .iter()
                .flat_map(|half| [*half, half.neighbour(1, 0)])
                .collect();
        }
        let mut steps = steps_for(self.reach(), self.center.latitude);
        let mut middle = Cell::around(self.center, steps);
        if steps > 1 && !self.is_covered_around(middle) {
            steps -= 1;
            middle = Cell::around(self.center, steps);
        }
        let limits = self.limits;
        let ((west, east), (south, north)) = (middle.longitudes(), middle.latitudes());
        // Where the square of the middle reaches far enough by itself, its neighbours are left out.
        let skip = |excess: bool| steps >= 2 && excess;
        let (skip_west, skip_east) = (skip(west < limits.west), skip(east > limits.east));
        let (skip_south, skip_north) = (skip(south < limits.south), skip(north > limits.north));
        let mut cells: SmallVec<[Cell; 9]> = SmallVec::new();
        for (east, north) in AROUND {
            let is_skipped = east < 0 && skip_west
                || east > 0 && skip_east
                || north < 0 && skip_south
                || north > 0 && skip_north;
            let cell = middle.neighbour(east, north);
            // With the largest squares, neighbours on both sides are the same.
            if !is_skipped && cells.last() != Some(&cell) {
                cells.push(cell);
            }
        }
        cells
    }

    /// Metres that the squares must reach from the middle.
    fn reach(&self) -> f64 {
        let reach = match &self.shape {
            Shape::Circle { radius, .. } => *radius,
            Shape::Rectangle { width, height, .. } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
            Shape::Polygon(_) => {
                let Limits {
                    west,
                    south,
                    east,
                    north,
                } = self.limits;
                let corner = |longitude, latitude| Point {
                    longitude,
                    latitude,
                };
                [
                    corner(west, north),
                    corner(east, north),
                    corner(west, south),
                    corner(east, south),
                ]
                .into_iter()
                .map(|corner| self.origin.distance(corner))
                .reduce(|most, distance| if distance > most { distance } else { most })
                .unwrap_or(0.0)
            }
        };
        reach * self.unit
    }

    /// Whether a square and those around it reach the limits of the area.
    fn is_covered_around(&self, middle: Cell) -> bool {
        let limits = self.limits;
        let is_short = middle.neighbour(0, 1).latitudes().1 < limits.north
            || middle.neighbour(0, -1).latitudes().0 > limits.south
            || middle.neighbour(1, 0).longitudes().1 < limits.east
            || middle.neighbour(-1, 0).longitudes().0 > limits.west;
        !is_short
    }
}

/// A square and its neighbours, to the east and to the north, in the order in which they are
/// searched.
const AROUND: [(i32, i32); 9] = [
    (0, 0),
    (0, 1),
    (0, -1),
    (1, 0),
    (-1, 0),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
];

/// How often the world is halved so that a square is about as large as a circle.
fn steps_for(mut radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return STEPS;
    }
    let mut steps = 1i32;
    while radius < MERCATOR_MAX {
        radius *= 2.0;
        steps += 1;
    }
    steps -= 2;
    // Towards the poles squares get narrower.
    if latitude.abs() > 66.0 {
        steps -= 1;
    }
    if latitude.abs() > 80.0 {
        steps -= 1;
    }
    steps.clamp(1, STEPS as i32).cast_unsigned()
}

/// The limits of what is within so many metres in each direction.
fn limits(center: Point, across: f64, along: f64) -> Limits {
    let Point {
        longitude,
        latitude,
    } = center;
    let latitude_delta = degrees(along / EARTH_RADIUS);
    // Parallels get shorter towards the poles.
    let outer = if latitude < 0.0 {
        latitude - latitude_delta
    } else {
        latitude + latitude_delta
    };
    let longitude_delta = degrees(across / EARTH_RADIUS / radians(outer).cos());
    Limits {
        west: longitude - longitude_delta,
        south: latitude - latitude_delta,
        east: longitude + longitude_delta,
        north: latitude + latitude_delta,
    }
}

fn polygon_limits(vertices: &[Point]) -> Limits {
    let none = Limits {
        west: *LONGITUDES.end(),
        south: *LATITUDES.end(),
        east: *LONGITUDES.start(),
        north: *LATITUDES.start(),
    };
    vertices.iter().fold(none, |limits, vertex| Limits {
        west: limits.west.min(vertex.longitude),
        south: limits.south.min(vertex.latitude),
        east: limits.east.max(vertex.longitude),
        north: limits.north.max(vertex.latitude),
    })
}

/// The middle of places on a sphere.
fn centroid(vertices: &[Point]) -> Point {
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for vertex in vertices {
        let (longitude, latitude) = (radians(vertex.longitude), radians(vertex.latitude));
        x += latitude.cos() * longitude.cos();
        y += latitude.cos() * longitude.sin();
        z += latitude.sin();
    }
    Point {
        longitude: degrees(f64::atan2(y, x)),
        latitude: degrees(f64::atan2(z, (x * x + y * y).sqrt())),
    }
}

/// Whether a ray from the place to the east crosses an odd number of sides (W. Randolph Franklin's
/// PNPOLY).
pub(super) fn is_inside(vertices: &[Point], place: Point) -> bool {
    let mut is_inside = false;
    let mut before = vertices.last();
    for vertex in vertices {
        if let Some(before) = before.replace(vertex)
            && (vertex.latitude > place.latitude) != (before.latitude > place.latitude)
            && place.longitude
                < (before.longitude - vertex.longitude) * (place.latitude - vertex.latitude)
                    / (before.latitude - vertex.latitude)
                    + vertex.longitude
        {
            is_inside = !is_inside;
        }
    }
    is_inside
}

/// Steps of longitude and latitude that an area surely does not reach beyond: for most places
/// outside they decide without computing the distance.
#[derive(Clone, Copy, Debug)]
struct Window {
    south: u32,
    north: u32,
    /// Longitudes go round the world.
    west: u32,
    /// Steps to the east of `west`.
    width: u32,
}

/// Steps of longitude around the world.
const ROUND: u32 = 1 << STEPS;

/// Steps that a window is larger than computed, for what is lost by rounding.
const MARGIN: f64 = 2.0;

/// The same for sines, next to 90 degrees.
const SINE_MARGIN: f64 = 1.0 + 1e-12;

impl Window {
    const EVERYTHING: Window = Window {
        south: 0,
        north: u32::MAX,
        west: 0,
        width: u32::MAX,
    };

    fn of(limits: Limits) -> Window {
        let step = |degrees: f64, range: &RangeInclusive<f64>| {
            let share = (degrees - range.start()) / (range.end() - range.start());
            (share * f64::from(ROUND)).floor()
        };
        let south = step(limits.south, &LATITUDES) - MARGIN;
        let north = step(limits.north, &LATITUDES) + MARGIN;
        let west = step(limits.west, &LONGITUDES) - MARGIN;
        let width = step(limits.east, &LONGITUDES) + MARGIN - west;
        let mut window = Window::EVERYTHING;
        // These are false, and leave the window open, for what is not a number.
        if south > 0.0 {
            window.south = south as u32;
        }
        if north < f64::from(ROUND - 1) {
            window.north = north as u32;
        }
        if width < f64::from(ROUND - 1) {
            window.west = (west as i64 & i64::from(ROUND - 1)) as u32;
            window.width = width as u32;
        }
        window
    }

    /// A window around a middle, from angles (in radians) to each side.
    fn around(center: Point, across: Option<f64>, along: f64) -> Window {
        let along = degrees(along);
        let across = across.map_or(360.0, degrees);
        Window::of(Limits {
            west: center.longitude - across,
            south: center.latitude - along,
            east: center.longitude + across,
            north: center.latitude + along,
        })
    }

    fn circle(center: Point, radius: f64) -> Window {
        let angle = radius / EARTH_RADIUS;
        if angle.is_nan() || angle >= FRAC_PI_2 {
            return Window::EVERYTHING;
        }
        let latitude = radians(center.latitude).abs();
        let sine = angle.sin() / latitude.cos() * SINE_MARGIN;
        // A circle that reaches a pole has places of all longitudes.
        let across = (latitude + angle < FRAC_PI_2 && sine < 1.0).then(|| sine.asin());
        Window::around(center, across, angle)
    }

    fn rectangle(center: Point, width: f64, height: f64) -> Window {
        let along = height / 2.0 / EARTH_RADIUS;
        // Half of the angle from the middle to a side.
        let half = width / 4.0 / EARTH_RADIUS;
        if along.is_nan() || half.is_nan() || along >= FRAC_PI_2 || half >= FRAC_PI_2 {
            return Window::EVERYTHING;
        }
        let outermost = radians(center.latitude).abs() + along;
        let sine = half.sin() / outermost.cos() * SINE_MARGIN;
        let across = (outermost < FRAC_PI_2 && sine < 1.0).then(|| 2.0 * sine.asin());
        Window::around(center, across, along)
    }

    #[inline]
    fn contains(&self, longitude: u32, latitude: u32) -> bool {
        let east = longitude.wrapping_sub(self.west) % ROUND;
        (self.south..=self.north).contains(&latitude) && east <= self.width
    }

    fn overlap(&self, cell: Cell) -> Overlap {
        let (longitude, latitude, size) = cell.corner();
        let (last, east) = (
            latitude.saturating_add(size - 1),
            longitude.wrapping_sub(self.west) % ROUND,
        );
        let is_all =
            self.south <= latitude && last <= self.north && east + (size - 1) <= self.width;
        let meets_latitudes = latitude <= self.north && self.south <= last;
        let meets_longitudes =
            east <= self.width || self.west.wrapping_sub(longitude) % ROUND < size;
        match () {
            () if is_all => Overlap::All,
            () if meets_latitudes && meets_longitudes => Overlap::Part,
            () => Overlap::Nothing,
        }
    }
}
