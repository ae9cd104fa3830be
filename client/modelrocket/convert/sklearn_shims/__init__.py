"""What stands between scikit-learn and skl2onnx: the form of rows and answers, and what skl2onnx lacks.

answers, inputs, parts, values   what a fitted estimator says, takes, is made of and knows
export, parameters, trees        the call of skl2onnx, and what is held right around it
nodes                            converters as functions from nodes to answers
every other module               has a `register()` that tells skl2onnx of estimators
"""
