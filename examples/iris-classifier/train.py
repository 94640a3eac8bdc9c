"""Train the iris classifier: `python train.py` writes model.joblib beside this file."""

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    iris = load_iris()
    train_x, test_x, train_y, test_y = train_test_split(
        iris.data, iris.target, test_size=0.3, random_state=7, stratify=iris.target
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train_x, train_y)
    path = Path(__file__).parent / "model.joblib"
    joblib.dump(model, path)
    print(f"{path.name}: accuracy {model.score(test_x, test_y):.3f} on {len(test_y)} flowers")


if __name__ == "__main__":
    main()
