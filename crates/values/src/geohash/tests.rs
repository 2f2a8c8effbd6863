use proptest::prelude::*;

use super::*;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 5 } else { 128 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn point(longitude: f64, latitude: f64) -> Point {
    Point {
        longitude,
        latitude,
    }
}

const PALERMO: Point = Point {
    longitude: 13.361389,
    latitude: 38.115556,
};
const CATANIA: Point = Point {
    longitude: 15.087269,
    latitude: 37.502669,
};

#[test]
#[cfg_attr(miri, ignore = "its sines differ in the last bits")]
fn known_places_have_the_numbers_of_redis() {
    assert_eq!(PALERMO.score(), 3_479_099_956_230_698);
    assert_eq!(CATANIA.score(), 3_479_447_370_796_909);
    let (palermo, catania) = (
        Point::of_score(3_479_099_956_230_698.0),
        Point::of_score(3_479_447_370_796_909.0),
    );
    assert_eq!(palermo, point(13.361389338970184, 38.1155563954963));
    assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
    assert_eq!(&palermo.text(), b"sqc8b49rny0");
    assert_eq!(&catania.text(), b"sqdtr74hyu0");
}

#[test]
fn every_score_has_a_place() {
    for score in [
        f64::NEG_INFINITY,
        f64::INFINITY,
        -1.0,
        0.0,
        1e15,
        -1e300,
        1e300,
        1.8e19,
        9.3e18,
    ] {
        assert!(Point::of_score(score).is_valid(), "{score}");
    }
    assert_eq!(whole(-1.5), u64::MAX);
    assert_eq!(whole(1.8e19), 18_000_000_000_000_000_000);
    assert_eq!(whole(1e300), 0);
    assert_eq!(whole(-1e300), 1 << 63);
    assert!(!point(f64::NAN, 0.0).is_valid());
}

#[test]
fn squares_go_round_the_world() {
    let corner = Cell::around(point(-180.0, -85.0), 3);
    assert_eq!(corner.scores().start, 0);
    assert_eq!(corner.neighbour(-1, 0).neighbour(1, 0), corner);
    assert_eq!(corner.neighbour(0, -1).neighbour(0, 1), corner);
    let (west, east) = corner.neighbour(-1, 0).longitudes();
    assert_eq!((west, east), (135.0, 180.0));
    let quarters = corner.quarters().unwrap();
    assert_eq!(quarters[0].scores().start, corner.scores().start);
    assert_eq!(quarters[3].scores().end, corner.scores().end);
    assert_eq!(Cell::around(PALERMO, STEPS).quarters(), None);
}

#[test]
fn polygons_around_a_pole_are_searched_everywhere() {
    let vertices = [-120.0, 0.0, 120.0].map(|longitude| point(longitude, 85.0));
    let area = Area::new(Shape::Polygon(vertices.to_vec()), 1.0);
    assert_eq!(area.cells().len(), 4);
}

fn place() -> impl Strategy<Value = Point> {
    let longitude = prop_oneof![4 => -180.0..180.0, 1 => 179.9..180.0, 1 => -180.0..-179.9];
    let latitude = prop_oneof![4 => -85.05..85.05, 1 => 84.9..85.05, 1 => -85.05..-84.9];
    (longitude, latitude).prop_map(|(longitude, latitude)| point(longitude, latitude))
}

/// Lengths from metres to half around the world.
fn reach() -> impl Strategy<Value = f64> {
    (0.0..17.0f64).prop_map(f64::exp)
}

fn shape() -> impl Strategy<Value = Shape> {
    let polygon = (
        place(),
        prop::collection::vec((0.0..40.0f64, 0.0..40.0f64), 3..7),
    );
    prop_oneof![
        (place(), reach()).prop_map(|(center, radius)| Shape::Circle { center, radius }),
        (place(), reach(), reach()).prop_map(|(center, width, height)| Shape::Rectangle {
            center,
            width,
            height,
        }),
        polygon.prop_map(|(base, offsets)| Shape::Polygon(
            offsets
                .into_iter()
                .map(|(east, north)| point(
                    (base.longitude + east).min(180.0),
                    (base.latitude + north).min(85.0),
                ))
                .collect()
        )),
    ]
}

/// Whether a place is in an area, without the shortcuts.
fn plainly_inside(area: &Area, place: Point) -> bool {
    match area.shape() {
        Shape::Circle { center, radius } => center.distance(place) <= *radius,
        Shape::Rectangle {
            center,
            width,
            height,
        } => {
            point(0.0, center.latitude).distance(point(0.0, place.latitude)) <= height / 2.0
                && place.distance(point(center.longitude, place.latitude)) <= width / 2.0
        }
        Shape::Polygon(vertices) => area::is_inside(vertices, place),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn scores_are_squares_around_places(place in place()) {
        let score = place.score();
        prop_assert!(score < 1 << 52);
        let back = Point::of_score(score as f64);
        prop_assert!((back.longitude - place.longitude).abs() < 360.0 / f64::from(1 << 26));
        prop_assert!((back.latitude - place.latitude).abs() < 180.0 / f64::from(1 << 26));
        prop_assert_eq!(back.score(), score);
        for steps in 1..=STEPS {
            prop_assert!(Cell::around(place, steps).scores().contains(&score));
        }
    }

    /// Windows and squares leave out no place that is in the area.
    #[test]
    #[cfg_attr(miri, ignore = "its sines differ from call to call")]
    fn what_is_inside_is_found(shape in shape(), shares in prop::collection::vec((-1.1..1.1f64, -1.1..1.1f64), 40)) {
        let area = Area::new(shape, 1.0);
        let (center, limits) = (area.center(), area.limits());
        for (east, north) in shares {
            let longitude = center.longitude + east * limits.0;
            let place = point(
                (longitude + 540.0).rem_euclid(360.0) - 180.0,
                center.latitude + north * limits.1,
            );
            if !place.is_valid() {
                continue;
            }
            let score = place.score();
            let place = Point::of_score(score as f64);
            let distance = area.distance(score as f64);
            prop_assert_eq!(distance.is_some(), plainly_inside(&area, place));
            if let Some(distance) = distance {
                prop_assert_eq!(distance.to_bits(), center.distance(place).to_bits());
                let mut cell = Cell::around(place, 1);
                while let Some(quarters) = cell.quarters() {
                    prop_assert_ne!(area.overlap(cell), Overlap::Nothing);
                    cell = *quarters.iter().find(|cell| cell.scores().contains(&score)).unwrap();
                }
            }
        }
        let cells = area.cells();
        prop_assert!((1..=9).contains(&cells.len()));
    }
}
