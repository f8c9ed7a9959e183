"""The parts of a moment as nodes of a graph. To be mixed into what writes raw columns."""

import numpy as np

from keras_ctr.features.columns import CYCLES, FIRST_TOKEN, NAMES_OF_TIME, UNITS
from keras_ctr.features.times import DAY


class Moments:
    """What `features.times.parts` does, in float64."""

    def _add_parts(self, feature):
        """The parts of a `Time`; float64, NaN where it is missing."""
        learner = self._learner(feature.name)
        seconds = self.add("Mul", [feature.name, self.number(UNITS[feature.unit])])
        missing = self.add("IsNaN", [seconds])
        whole = self.add("Floor", [self._never_nan(seconds)])
        for part in feature.parts:
            name = f"{feature.name}.{part}"
            if part == "days":
                held = self.add("Max", [seconds, self.number(learner.first)])
                held = self.add("Min", [held, self.number(learner.last)])
                held = self.add("Div", [held, self.number(DAY)])
                self.derived[name] = self.add("Where", [missing, seconds, held])
            elif part in CYCLES:
                shift = 3 * DAY if part == "week_cycle" else 0.0
                angle = self.add("Add", [seconds, self.number(shift)])
                angle = self.add("Mul", [angle, self.number(2 * np.pi)])
                angle = self.add("Div", [angle, self.number(CYCLES[part])])
                self.derived[f"{name}.sin"] = self.add("Sin", [angle])
                # Its cosine, which ONNX Runtime has for float64 only since its version 1.23.
                ahead = self.add("Add", [angle, self.number(np.pi / 2)])
                self.derived[f"{name}.cos"] = self.add("Sin", [ahead])
            else:
                assert part in NAMES_OF_TIME
                value = self._name_of(part, whole)
                value = self.add("Add", [value, self.number(float(FIRST_TOKEN))])
                self.derived[name] = self.add("Where", [missing, seconds, value])

    def _quotient(self, x, by):
        return self.add("Floor", [self.add("Div", [x, self.number(float(by))])])

    def _rest(self, x, by):
        times = self.add("Mul", [self._quotient(x, by), self.number(float(by))])
        return self.add("Sub", [x, times])

    def _plus(self, x, value):
        return self.add("Add", [x, self.number(float(value))])

    def _name_of(self, part, whole):
        if part == "hour":
            return self._rest(self._quotient(whole, 3600), 24)
        days = self._quotient(whole, DAY)
        if part == "weekday":
            return self._rest(self._plus(days, 3), 7)
        # Months of a year that begins in March, of 400 years that begin in 2000: 153 days are five
        # months, and the leap day is the last of the year.
        of_era = self._rest(self._plus(days, 719468), 146097)
        year = self.add("Sub", [of_era, self._quotient(of_era, 1460)])
        year = self.add("Add", [year, self._quotient(of_era, 36524)])
        year = self.add("Sub", [year, self._quotient(of_era, 146096)])
        year = self._quotient(year, 365)
        before = self.add("Mul", [year, self.number(365.0)])
        before = self.add("Add", [before, self._quotient(year, 4)])
        before = self.add("Sub", [before, self._quotient(year, 100)])
        day = self.add("Sub", [of_era, before])  # of the year, from 0
        month = self._quotient(self._plus(self.add("Mul", [day, self.number(5.0)]), 2), 153)
        if part == "month":
            return self._plus(self._rest(self._plus(month, 2), 12), 1)
        first = self._quotient(self._plus(self.add("Mul", [month, self.number(153.0)]), 2), 5)
        return self._plus(self.add("Sub", [day, first]), 1)
