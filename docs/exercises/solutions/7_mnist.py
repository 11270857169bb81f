"""A solution of exercise 7, and wrong answers that its test must refuse."""

import minidistill as md


def _trained(temperature, alpha, rate):
    def distil(student, transfer):
        optimizer = md.SGD(md.linear_decay(rate, warmup=0.1), momentum=0.9)
        md.fit(student, transfer, md.Objective(temperature, alpha), optimizer, epochs=30, progress=False)

    return distil


distil = _trained(4.0, 1.0, 0.03)

WRONG = {
    "labels alone": _trained(4.0, 0.0, 0.1),
    "too low a rate": _trained(4.0, 1.0, 1e-4),
}
