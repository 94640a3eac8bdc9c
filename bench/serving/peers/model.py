import numpy as np

W = np.array([[0.4, 1.3, -2.1, -0.9], [0.5, -1.6, 0.5, -1.2], [-1.7, -1.5, 2.4, 2.5]])
B = np.array([9.8, 2.2, -12.0])
LABELS = ["setosa", "versicolor", "virginica"]


def predict(instances):
    x = np.asarray(instances, dtype=float)
    return [LABELS[i] for i in (x @ W.T + B).argmax(1)]
