"""Prints what pulse tests of made-up cells give, one figure a line, on both interpreters."""

from common.cells import pulse_lfp_68ah_trains, pulse_lmo_10ah, pulse_nmc_21ah
from firmware.estimators.pulse import FIRST, MAIN, SHORT, PulseModel, PulseSoh, PulseTest


def value(model, name_index, step):
    """A feature some deviations off the mean; 0 where the model does not use it."""
    for i in range(len(model.used)):
        if model.used[i] == name_index:
            return model.mean[i] + step * model.scale[i]
    return 0.0


def fill(test, train, base_mv, ohmic, polar, asym, rest_c, rest_d):
    """Turning points of a cell with these figures per C, in whole mV."""
    u = base_mv
    turn = 0
    test.put(train, 0, round(u))
    for pulse in range(test.charges + test.discharges):
        rate = 0.5 * (1 + pulse // 2)
        sign = 1 if pulse % 2 == 0 else -1
        end = sign * rate * (ohmic + polar + sign * -0.5 * asym)
        left = rate * (rest_c if sign > 0 else rest_d)
        for mv in (u + sign * rate * ohmic, u + end, u + end - sign * rate * ohmic, u + left):
            turn += 1
            test.put(train, turn, round(mv))
        u += left
        test.put_step(train, pulse, round(sign * rate * test.rated_mah))


def main():
    for module in (pulse_lmo_10ah, pulse_nmc_21ah, pulse_lfp_68ah_trains):
        for data in (module.MODEL, module.MODEL_AT_HALF):
            model = PulseModel(data)
            pulse = PulseSoh(model)
            test = PulseTest(model.rated_mah, model.charges, model.discharges)
            for step in (-1.0, -0.3, 0.4, 1.0):
                v = [value(model, k, step) for k in range(15)]
                fill(test, MAIN, v[0], v[1], v[2], v[3], v[6], v[7])
                if max(model.used) > 8:
                    fill(test, SHORT, v[0] + 1, v[1], v[9], v[10], v[11], v[12])
                    fill(test, FIRST, v[0] - v[14], v[13], 1.0, 0.0, 1.0, -1.0)
                print(pulse.estimate(test), pulse.reason)
                print(pulse.soh_bp, pulse.lo_bp, pulse.hi_bp)


main()
