"""A solution of exercise 4, and wrong answers that its tests must refuse."""


def limit(z, v, T):
    return ((z - z.mean()) - (v - v.mean())) / (len(z) * T**2)


WRONG = {
    "the means left in": lambda z, v, T: (z - v) / (len(z) * T**2),
    "1/T for 1/T²": lambda z, v, T: ((z - z.mean()) - (v - v.mean())) / (len(z) * T),
    "N forgotten": lambda z, v, T: ((z - z.mean()) - (v - v.mean())) / T**2,
}
