"""Figures of others as they were published; nothing here was measured by us.

Tables of their papers are not always split or encoded like ours, and training was on GPUs.
"""

# Detection score of an XGBoost classifier (1: indistinguishable; about 2 - 2 AUC), fidelity
# of single columns and of pairs, means of five models, by the authors of TabPC:
# https://github.com/april-tools/tabpc, article_material/our_results; arXiv 2603.23016.
TABPC_SOURCE = "https://github.com/april-tools/tabpc, article_material; arXiv 2603.23016"
TABPC_TABLES = ("adult", "default", "shoppers", "magic", "beijing")
DETECTION = {
    "TabPC": (0.8554, 0.2617, 0.8936, 0.8602, 0.5704),
    "TabDiff": (0.8409, 0.5914, 0.7361, 0.7732, 0.7723),
    "TabSyn": (0.7942, 0.4024, 0.6554, 0.7602, 0.5266),
    "shallow mixture": (0.7727, 0.1053, 0.2901, 0.6258, 0.7332),
    "TVAE": (0.0000, 0.0020, 0.0000, 0.2981, 0.0000),
    "CTGAN": (0.0000, 0.0002, 0.0000, 0.1034, 0.0000),
    "independent columns": (0.0160, 0.0002, 0.0211, 0.0052, 0.0172),
}
SHAPE = {
    "TabPC": (0.9942, 0.9946, 0.9910, 0.9902, 0.9943),
    "TabDiff": (0.9932, 0.9884, 0.9851, 0.9920, 0.9895),
    "TabSyn": (0.9921, 0.9868, 0.9852, 0.9902, 0.9739),
}
TREND = {
    "TabPC": (0.9856, 0.9496, 0.9822, 0.9830, 0.9781),
    "TabDiff": (0.9846, 0.9726, 0.9809, 0.9916, 0.9741),
    "TabSyn": (0.9795, 0.9712, 0.9771, 0.9918, 0.9550),
}
# AUC of XGBoost that is trained on fake rows; of beijing the root mean squared error.
UTILITY = {
    "TabPC": (0.9162, 0.7442, 0.8970, 0.9324, 0.6558),
    "TabDiff": (0.9130, 0.7625, 0.9170, 0.9358, 0.5642),
    "TabSyn": (0.9104, 0.7590, 0.9144, 0.9370, 0.6260),
}

# ForestDiffusion (flow matching, 51 noise levels, a model for each class) on small tables: W1 to
# the training and to the test rows, coverage of both, F1 or R2 of models that are trained on fake
# rows (mean of four), seconds on a node of a cluster. Means of three splits and five samples.
FOREST_SOURCE = (
    "https://github.com/SamsungSAILMontreal/ForestDiffusion, Results_tabular - generation.csv; "
    "Jolicoeur-Martineau, Fatras, Kachman (2024), arXiv 2309.09968"
)
FOREST_FIGURES = ("w1_train", "w1_test", "coverage_train", "coverage_test", "utility", "seconds")
FOREST_FLOW = {
    "iris": (0.1966, 0.3282, 0.9356, 0.9311, 0.9764, 12.4),
    "wine": (0.8447, 1.4206, 0.9737, 0.9537, 0.9444, 68.0),
    "breast_cancer": (1.2814, 1.7488, 0.9502, 0.9760, 0.9445, 254.8),
    "concrete": (0.3191, 0.5423, 0.7235, 0.8890, 0.7401, 25.8),
    "sonar": (6.3460, 8.3797, 0.8558, 0.9492, 0.7694, 759.0),
    "ionosphere": (3.2392, 4.2982, 0.8279, 0.9014, 0.8754, 271.0),
    "seeds": (0.3065, 0.5152, 0.9385, 0.9698, 0.8847, 24.5),
    "glass": (0.3569, 0.6829, 0.9244, 0.9163, 0.5675, 61.4),
    "ecoli": (0.2444, 0.4495, 0.9338, 0.9578, 0.6836, 49.6),
    "libras": (7.6760, 9.9968, 0.8308, 0.9250, 0.4519, 9481.8),
    "blood": (0.0729, 0.1279, 0.8333, 0.9556, 0.5974, 9.9),
    "vowel": (0.4087, 0.7274, 0.8305, 0.9273, 0.6137, 162.1),
    "wine_quality_red": (0.3852, 0.5160, 0.9203, 0.9727, 0.2591, 46.7),
    "tic_tac_toe": (1.2304, 1.9455, 0.8023, 0.7278, 0.7459, 126.5),
    "congress": (3.1252, 3.6714, 0.2669, 0.3540, 0.9238, 252.5),
}
