//! A Kalman filter with constant velocity over real time.
//!
//! ByteTrack's filter (Wojke et al., arXiv 1703.07402; Zhang et al., arXiv 2110.06864) has a state
//! of eight numbers, but its matrices couple a coordinate with nothing but its own velocity. So it
//! is a filter of two numbers for each coordinate. Its noise is given per frame; here, it is given
//! per second, and a step of `dt` seconds adds what white noise of that density adds
//! (Bar-Shalom et al., Estimation with Applications to Tracking and Navigation, 6.2.2):
//!
//! ```text
//! x += v·dt        Q = q_v · | dt³/3  dt²/2 |  +  q_x · | dt  0 |
//!                            | dt²/2  dt    |           | 0   0 |
//! ```
//!
//! Two steps of `dt` are then one of `2·dt`, whatever frames lie between. Width and height have
//! no velocity: a box that was last seen while it shrank must not vanish.
//!
//! All arithmetic is `+ - * /` and `sqrt` in `f64`, which IEEE 754 defines to the last bit.

use serde::{Deserialize, Serialize};

use super::boxes::Box4;

/// Noise, relative to the size of the box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    /// Standard deviation of a measured coordinate.
    pub(crate) measured: f64,
    /// Of a position after a second, beyond what the velocity explains.
    pub(crate) position: f64,
    /// Of a velocity after a second.
    pub(crate) velocity: f64,
    /// Of a width or a height after a second.
    pub(crate) size: f64,
    /// Of the velocity of something that was seen once.
    pub(crate) first_velocity: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 5]", into = "[f64; 5]")]
struct Moving {
    x: f64,
    v: f64,
    xx: f64,
    xv: f64,
    vv: f64,
}

impl From<[f64; 5]> for Moving {
    fn from([x, v, xx, xv, vv]: [f64; 5]) -> Self {
        Self { x, v, xx, xv, vv }
    }
}

impl From<Moving> for [f64; 5] {
    fn from(Moving { x, v, xx, xv, vv }: Moving) -> Self {
        [x, v, xx, xv, vv]
    }
}

impl Moving {
    fn predict(&mut self, dt: f64, q_x: f64, q_v: f64) {
        self.x += self.v * dt;
        self.xx += dt * (2.0 * self.xv + dt * self.vv) + q_x * dt + q_v * dt * dt * dt / 3.0;
        self.xv += dt * self.vv + q_v * dt * dt / 2.0;
        self.vv += q_v * dt;
    }

    fn update(&mut self, measured: f64, r: f64) {
        let s = self.xx + r;
        let (gain_x, gain_v) = (self.xx / s, self.xv / s);
        let innovation = measured - self.x;
        self.x += gain_x * innovation;
        self.v += gain_v * innovation;
        self.vv -= gain_v * self.xv;
        self.xv -= gain_x * self.xv;
        self.xx -= gain_x * self.xx;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
struct Steady {
    x: f64,
    xx: f64,
}

impl From<[f64; 2]> for Steady {
    fn from([x, xx]: [f64; 2]) -> Self {
        Self { x, xx }
    }
}

impl From<Steady> for [f64; 2] {
    fn from(Steady { x, xx }: Steady) -> Self {
        [x, xx]
    }
}

impl Steady {
    fn update(&mut self, measured: f64, r: f64) {
        let gain = self.xx / (self.xx + r);
        self.x += gain * (measured - self.x);
        self.xx -= gain * self.xx;
    }
}

/// Where a box is, and how it moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Motion {
    x: Moving,
    y: Moving,
    width: Steady,
    height: Steady,
}

impl Motion {
    pub(crate) fn new(seen: Box4, noise: &Noise) -> Self {
        let (width, height) = (seen.width(), seen.height());
        let [x, y] = seen.centre();
        let velocity = square(noise.first_velocity) * width * height;
        let moving = |x: f64, side: f64| {
            let xx = square(noise.measured * side);
            Moving { x, v: 0.0, xx, xv: 0.0, vv: velocity }
        };
        let steady = |side: f64| Steady { x: side, xx: square(noise.measured * side) };
        Self {
            x: moving(x, width),
            y: moving(y, height),
            width: steady(width),
            height: steady(height),
        }
    }

    pub(crate) fn predict(&mut self, dt: f64, noise: &Noise) {
        let area = self.width.x * self.height.x;
        let (q_x, q_v) = (square(noise.position) * area, square(noise.velocity) * area);
        self.x.predict(dt, q_x, q_v);
        self.y.predict(dt, q_x, q_v);
        for side in [&mut self.width, &mut self.height] {
            side.xx += square(noise.size * side.x) * dt;
        }
    }

    /// `trust` is 1 for a normal object, and less for one that is worth less.
    pub(crate) fn update(&mut self, seen: Box4, trust: f64, noise: &Noise) {
        let [x, y] = seen.centre();
        let r = |side: f64| square(noise.measured * side) / trust;
        let (r_x, r_y) = (r(self.width.x), r(self.height.x));
        self.x.update(x, r_x);
        self.y.update(y, r_y);
        self.width.update(seen.width(), r_x);
        self.height.update(seen.height(), r_y);
    }

    pub(crate) fn bounds(&self) -> Box4 {
        Box4::around(self.x.x, self.y.x, self.width.x, self.height.x)
    }

    pub(crate) fn velocity(&self) -> [f64; 2] {
        [self.x.v, self.y.v]
    }

    /// Standard deviation of the centre, across and down.
    pub(crate) fn deviation(&self) -> [f64; 2] {
        [self.x.xx.max(0.0).sqrt(), self.y.xx.max(0.0).sqrt()]
    }

    /// How far the centre of a box is from the expected one: the square of the Mahalanobis
    /// distance.
    pub(crate) fn distance(&self, seen: Box4, noise: &Noise) -> f64 {
        let [x, y] = seen.centre();
        let part = |axis: &Moving, measured: f64, side: f64| {
            square(measured - axis.x) / (axis.xx + square(noise.measured * side))
        };
        part(&self.x, x, self.width.x) + part(&self.y, y, self.height.x)
    }
}

fn square(x: f64) -> f64 {
    x * x
}
