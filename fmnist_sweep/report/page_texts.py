"""What a reader sees in the page besides its figures: texts in English and Spanish."""

from fmnist_sweep.report.labels import LANGUAGES, Language

_TEXTS: dict[str, tuple[str, str]] = {
    "title": ("Fashion-MNIST: does the paper hold?", "Fashion-MNIST: ¿se sostiene el artículo?"),
    "intro": (
        "“Clasificando Fashion-MNIST con PyTorch” (M. Caprari, 2024) trains small neural networks with Adam and "
        "SGD; this page checks what it states about them against the {runs} runs of a sweep, {done} of them finished.",
        "«Clasificando Fashion-MNIST con PyTorch» (M. Caprari, 2024) entrena redes neuronales pequeñas con Adam y "
        "SGD; esta página contrasta lo que afirma sobre ellas con las {runs} corridas de un barrido, {done} de ellas "
        "terminadas.",
    ),
    "intro_counts": (
        "Verdicts on its {claims} claims: {counts}.",
        "Veredictos sobre sus {claims} afirmaciones: {counts}.",
    ),
    "intro_count": ("{n} {verdict}", "{n} «{verdict}»"),
    "and": (" and ", " y "),
    "reproduced": ("reproduced", "se reproduce"),
    "not_reproduced": ("not reproduced", "no se reproduce"),
    "inconclusive": ("inconclusive", "no concluyente"),
    "not_run": ("not run", "sin corridas"),
    "contents": ("On this page", "En esta página"),
    "needs_script": (
        "Sorting, filtering and the interactive curves need JavaScript, which is off here; everything else is below.",
        "Ordenar, filtrar y las curvas interactivas necesitan JavaScript, que aquí está desactivado; todo lo demás "
        "está abajo.",
    ),
    # The claims.
    "claims": ("The paper's claims", "Las afirmaciones del artículo"),
    "claims_note": (
        "Measured: the mean over seeds and its 95 % interval; in a comparison, of the difference paired by seed. "
        "Click on a heading to sort.",
        "Medido: la media de las semillas y su intervalo del 95 %; en una comparación, de la diferencia emparejada por "
        "semilla. Un clic en un encabezado ordena.",
    ),
    "show": ("Show", "Mostrar"),
    "all": ("all", "todas"),
    "section": ("Section", "Sección"),
    "figure": ("Figure", "Figura"),
    "quote": ("In the paper's words", "En palabras del artículo"),
    "statement": ("Claim", "Afirmación"),
    "expected": ("Expected", "Esperado"),
    "measured": ("Measured", "Medido"),
    "seeds": ("Seeds", "Semillas"),
    "verdict": ("Verdict", "Veredicto"),
    "reason": ("Reason", "Motivo"),
    "why": ("Why?", "¿Por qué?"),
    "tolerance": ("Tolerance", "Tolerancia"),
    "expression": ("Computed", "Cálculo"),
    "p_value": ("Corrected p", "p corregido"),
    "effect_size": ("Effect size (d_z)", "Tamaño del efecto (d_z)"),
    "quantity": ("{reduce} of {metric}: {of}", "{reduce} de {metric}: {of}"),
    "minus": (" minus {than}", " menos {than}"),
    "search": ("Search", "Buscar"),
    "matches": ("_TOTAL_ shown", "_TOTAL_ en pantalla"),
    "no_matches": ("nothing matches", "nada coincide"),
    "sortable": (": sort", ": ordenar"),
    # Configurations near to the paper's numbers.
    "nearest": (
        "Where a number does not reproduce: what comes nearest",
        "Si un número no se reproduce: qué se acerca más",
    ),
    "nearest_note": (
        "The numbers that the paper quotes from one figure, and the configurations of the grid that come nearest to "
        "all of them together. Distance is in tolerances (root mean square): below 1, within tolerance on the whole.",
        "Los números que el artículo cita de una figura, y las configuraciones de la grilla que más se acercan a "
        "todos ellos juntos. La distancia se mide en tolerancias (media cuadrática): menor que 1 es, en conjunto, "
        "dentro de la tolerancia.",
    ),
    "nearest_none": (
        "Every quoted number that could be judged reproduces, or stays inconclusive.",
        "Todo número citado que se pudo juzgar se reproduce, o no es concluyente.",
    ),
    "figure_of": ("Figure {figure}: {configuration}", "Figura {figure}: {configuration}"),
    "nearest_own": (
        "The paper's own configuration is the nearest, at a distance of {distance}.",
        "La configuración del artículo es la más cercana, a una distancia de {distance}.",
    ),
    "nearest_other": (
        "Nearest is {nearest}, at a distance of {distance}; the paper's own configuration is number {rank}, at {own}.",
        "La más cercana es {nearest}, a una distancia de {distance}; la configuración del artículo es la número "
        "{rank}, a {own}.",
    ),
    "nearest_not_run": (
        "Nearest is {nearest}, at a distance of {distance}; the paper's own configuration has not been run.",
        "La más cercana es {nearest}, a una distancia de {distance}; la configuración del artículo no se corrió.",
    ),
    "configuration": ("Configuration", "Configuración"),
    "distance": ("Distance", "Distancia"),
    "paper": ("The paper", "El artículo"),
    "rank": ("No.", "N.º"),
    "papers_own": ("the paper's", "la del artículo"),
    # Figures.
    "figures": ("The paper's five figures, from these runs", "Las cinco figuras del artículo, con estas corridas"),
    "figures_note": (
        "White markers: the numbers that the paper quotes.",
        "Marcadores blancos: los números que cita el artículo.",
    ),
    "fig1": ("Base model with Adam and SGD", "Modelo base con Adam y SGD"),
    "fig2": ("Batch size 500 with Adam", "Tamaño de lote 500 con Adam"),
    "fig3": ("Batch size 500 with SGD", "Tamaño de lote 500 con SGD"),
    "fig4": ("Batch size 1000 with Adam", "Tamaño de lote 1000 con Adam"),
    "fig5": ("100 epochs with Adam", "100 épocas con Adam"),
    "numbered": ("Figure {number}. {title}", "Figura {number}. {title}"),
    "not_drawn": ("Its runs are missing: nothing to draw yet.", "Faltan sus corridas: aún no hay qué dibujar."),
    "curves": ("Curves to explore", "Curvas para explorar"),
    "curves_note": (
        "Choose the metric above the curves and the configurations in the legend; hover or tap for values. Line: mean "
        "of the seeds; band: from the least to the greatest.",
        "La métrica se elige sobre las curvas y las configuraciones en la leyenda; al pasar o tocar se ven los "
        "valores. Línea: media de las semillas; banda: del mínimo al máximo.",
    ),
    "curves_more": (
        "{n} more configurations are not drawn here.",
        "Hay {n} configuraciones más que no se dibujan aquí.",
    ),
    "curves_none": ("No run has a whole epoch yet.", "Ninguna corrida tiene una época entera todavía."),
    "comparisons": ("Comparisons", "Comparaciones"),
    "comparisons_none": ("No run has finished yet.", "Ninguna corrida terminó todavía."),
    "curves-by-optimizer": ("By optimizer", "Por optimizador"),
    "curves-by-batch-size": ("By batch size", "Por tamaño del lote"),
    "curves-by-dropout": ("By dropout", "Por dropout"),
    "final": ("Final accuracy and loss", "Precisión y pérdida finales"),
    "gap": ("Generalisation gap", "Brecha de generalización"),
    "convergence": ("Convergence speed", "Velocidad de convergencia"),
    "main-effects": ("Main effect of each factor", "Efecto principal de cada factor"),
    "parallel-coordinates": ("The grid in parallel coordinates", "La grilla en coordenadas paralelas"),
    # Confusions.
    "confusions": ("What gets confused", "Qué se confunde"),
    "confusions_choose": ("Configuration", "Configuración"),
    "confusions_note": (
        "Rows: true class; columns: predicted class, in percent of the row; last: the fraction recognised. "
        "Summed over the seeds that kept their predictions: {seeds}.",
        "Filas: clase verdadera; columnas: clase predicha, en porcentaje de la fila; al final: la fracción reconocida. "
        "Suma de las semillas que guardaron sus predicciones: {seeds}.",
    ),
    "confusions_mistakes": ("Its most frequent mistakes", "Sus errores más frecuentes"),
    "confusions_pair": ("{true} → {predicted} ({n})", "{true} → {predicted} ({n})"),
    "confusions_image": ("{true} taken for {predicted}", "{true} tomado por {predicted}"),
    "confusions_none": (
        "No run kept its predictions (those that go on, and those cut from longer ones, have none).",
        "Ninguna corrida guardó sus predicciones (no las tienen las que siguen en curso ni las cortadas de otras más "
        "largas).",
    ),
    "confusions_no_data": (
        "Neither the true classes nor the images are at hand: Fashion-MNIST was not found on this machine, and the "
        "report never downloads it. Run make data, or name its folder with --data, and make the report again.",
        "No están a mano ni las clases verdaderas ni las imágenes: Fashion-MNIST no se encontró en esta máquina y el "
        "informe nunca lo descarga. Ejecute make data, o indique su carpeta con --data, y vuelva a hacer el informe.",
    ),
    "confusions_more": (
        "{n} more configurations with predictions are not shown.",
        "No se muestran {n} configuraciones más con predicciones.",
    ),
    "recognised": ("Recognised", "Reconocidos"),
    "true_class": ("True class", "Clase verdadera"),
    "predicted_class": ("Predicted class", "Clase predicha"),
    # Runs.
    "runs": ("All runs", "Todas las corridas"),
    "runs_note": (
        "Metrics are those of the last epoch that a run has; seconds are those of its training. Click on a heading to "
        "sort.",
        "Las métricas son las de la última época que tiene la corrida; los segundos, los de su entrenamiento. Un clic "
        "en un encabezado ordena.",
    ),
    "run": ("Run", "Corrida"),
    "status": ("Status", "Estado"),
    "optimizer": ("Optimizer", "Optimizador"),
    "batch_size": ("Batch", "Lote"),
    "dropout": ("Dropout", "Dropout"),
    "epochs": ("Epochs", "Épocas"),
    "hidden": ("Hidden", "Ocultas"),
    "validation": ("Validated on", "Validado en"),
    "pixel_mean": ("Pixel mean", "Media de píxeles"),
    "pixel_std": ("Pixel scale", "Escala de píxeles"),
    "seed": ("Seed", "Semilla"),
    "val_accuracy": ("validation accuracy", "precisión de validación"),
    "val_loss": ("validation loss", "pérdida de validación"),
    "train_accuracy": ("training accuracy", "precisión de entrenamiento"),
    "train_loss": ("training loss", "pérdida de entrenamiento"),
    "running_accuracy": ("training accuracy, dropout on", "precisión de entrenamiento con dropout"),
    "running_loss": ("training loss, dropout on", "pérdida de entrenamiento con dropout"),
    "loss_gap": ("loss gap", "brecha de pérdida"),
    "accuracy_gap": ("accuracy gap", "brecha de precisión"),
    "column_val_accuracy": ("Accuracy, validation", "Precisión, validación"),
    "column_val_loss": ("Loss, validation", "Pérdida, validación"),
    "column_train_accuracy": ("Accuracy, training", "Precisión, entren."),
    "column_train_loss": ("Loss, training", "Pérdida, entren."),
    "column_seconds": ("Seconds", "Segundos"),
    "column_test_accuracy": ("Accuracy, test", "Precisión, prueba"),
    "done": ("done", "terminada"),
    "running": ("running", "en curso"),
    "interrupted": ("interrupted", "interrumpida"),
    "failed": ("failed", "fallida"),
    "diverged": ("diverged", "divergente"),
    "unreadable": ("unreadable", "ilegible"),
    "foreign": ("not a run", "no es una corrida"),
    "superseded": ("superseded", "reemplazada"),
    # What is missing.
    "problems": ("What is missing or went wrong", "Qué falta o salió mal"),
    "missing": ("Missing for the paper's figures", "Falta para las figuras del artículo"),
    "missing_none": (
        "The paper's figures have all their runs with every seed ({seeds}).",
        "Las figuras del artículo tienen todas sus corridas con cada semilla ({seeds}).",
    ),
    "missing_seeds": ("seeds {seeds}", "semillas {seeds}"),
    "missing_partly": (
        "seed {seed} has {done} of {epochs} epochs",
        "la semilla {seed} tiene {done} de {epochs} épocas",
    ),
    "problems_none": (
        "Every other directory of the store was read without complaint.",
        "Los demás directorios se leyeron sin problemas.",
    ),
    "problems_list": (
        "Directories that are incomplete or cannot be used",
        "Directorios incompletos o que no se pueden usar",
    ),
    "problems_kind": ("Kind", "Tipo"),
    "problems_message": ("Message", "Mensaje"),
    "problems_more": ("and {n} more ({kind})", "y {n} más ({kind})"),
    "progress": ("{done} of {epochs} epochs", "{done} de {epochs} épocas"),
    # How to read it.
    "reading": ("How to read this", "Cómo leer esto"),
    "environment": ("Machine and versions", "Máquina y versiones"),
    "environment_none": ("The runs do not say.", "Las corridas no lo dicen."),
    "environment_runs": ("Runs", "Corridas"),
    "environment_cpu": ("Processor", "Procesador"),
    "environment_device": ("Device", "Dispositivo"),
    "environment_platform": ("System", "Sistema"),
    "environment_git_commit": ("Commit", "Commit"),
    "environment_threads": ("Threads", "Hilos"),
    # Parts of a quantity, as in "at epoch 1".
    "reduce_at": ("epoch {epoch}", "época {epoch}"),
    "reduce_last": ("last epoch", "última época"),
    "reduce_mean_last": ("mean of the last {epochs} epochs", "media de las últimas {epochs} épocas"),
    "reduce_mean": ("mean{window}", "media{window}"),
    "reduce_min": ("minimum{window}", "mínimo{window}"),
    "reduce_max": ("maximum{window}", "máximo{window}"),
    "reduce_slope": ("slope per epoch{window}", "pendiente por época{window}"),
    "reduce_spread": ("standard deviation{window}", "desviación estándar{window}"),
    "reduce_volatility": ("volatility{window}", "volatilidad{window}"),
    "reduce_roughness": ("roughness{window}", "rugosidad{window}"),
    "reduce_settles": (
        "epoch from which within {within:g} of the mean of the last {over}",
        "época desde la que queda a menos de {within:g} de la media de las últimas {over}",
    ),
    "reduce_climbs_to": ("first epoch at {value:g} or above", "primera época en {value:g} o más"),
    "reduce_falls_to": ("first epoch at {value:g} or below", "primera época en {value:g} o menos"),
    "reduce_rise": (
        "rise after epoch {after} (means of {over})",
        "subida tras la época {after} (medias de {over})",
    ),
    "window_from_to": (", epochs {first} to {last}", ", épocas {first} a {last}"),
    "window_from": (" from epoch {first} on", " desde la época {first}"),
    "window_to": (" up to epoch {last}", " hasta la época {last}"),
    # The plotting library's own words, which it has in English.
    "zoom_in": ("Zoom in", "Acercar"),
    "zoom_out": ("Zoom out", "Alejar"),
    "reset": ("Reset axes", "Restablecer ejes"),
    "picture": ("Download plot as a PNG", "Descargar como PNG"),
    "isolate": ("Double-click on legend to isolate one trace", "Doble clic en la leyenda para aislar una curva"),
    "epoch": ("Epoch", "Época"),
    "to": ("to", "a"),
    "curve_seeds": ("seeds: {n}", "semillas: {n}"),
    "unit_loss": ("{metric} (nats)", "{metric} (nats)"),
    "unit_accuracy": ("{metric} (fraction)", "{metric} (fracción)"),
}

_DEFINITIONS: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = (
    (
        ("Loss", "Pérdida"),
        (
            "Cross-entropy in nats, the mean over batches of each batch's mean: the paper's equation (1).",
            "Entropía cruzada en nats, la media sobre los lotes de la media de cada lote: la ecuación (1) del "
            "artículo.",
        ),
    ),
    (
        ("Accuracy", "Precisión"),
        (
            "Correct predictions divided by samples, a fraction: the paper's equation (2).",
            "Predicciones correctas divididas por muestras, una fracción: la ecuación (2) del artículo.",
        ),
    ),
    (
        ("Training and validation", "Entrenamiento y validación"),
        (
            "Training metrics are measured after each epoch over the whole training set with dropout off, which is "
            "what matches the paper's numbers; “dropout on” are means as the batches went by. Validation is, as in "
            "the paper, the 10,000 test images, unless a run says holdout.",
            "Las métricas de entrenamiento se miden tras cada época sobre todo el conjunto de entrenamiento y sin "
            "dropout, que es lo que coincide con los números del artículo; «con dropout» son medias mientras pasaban "
            "los lotes. La validación son, como en el artículo, las 10 000 imágenes de prueba, salvo que una corrida "
            "diga holdout.",
        ),
    ),
    (
        ("Seeds and intervals", "Semillas e intervalos"),
        (
            "Runs of a configuration differ by their seed alone: initial weights, order of the images, dropout. "
            "Intervals are 95 % Student t intervals of the mean over seeds. Bands of curves reach from the least to "
            "the greatest seed.",
            "Las corridas de una configuración se distinguen solo por la semilla: pesos iniciales, orden de las "
            "imágenes, dropout. Los intervalos son t de Student del 95 % para la media de las semillas. Las bandas de "
            "las curvas van de la semilla menor a la mayor.",
        ),
    ),
    (
        ("Verdict on a number", "Veredicto sobre un número"),
        (
            "Reproduced: the whole interval lies within what is expected. Not reproduced: the whole interval lies "
            "outside. Inconclusive: it crosses the edge. With one seed there is no interval and its value is judged.",
            "Se reproduce: todo el intervalo queda dentro de lo esperado. No se reproduce: todo el intervalo queda "
            "fuera. No concluyente: cruza el borde. Con una sola semilla no hay intervalo y se juzga su valor.",
        ),
    ),
    (
        ("Verdict on a comparison or a shape", "Veredicto sobre una comparación o una forma"),
        (
            "Differences are paired by seed and tested with the paired t test; “no change” with two one-sided t "
            "tests. The p values of all claims together are corrected with Holm's method; below 0.05 the verdict is "
            "the side on which the mean lies, otherwise it is inconclusive, as it always is with one seed. Effect "
            "size: d_z, the mean difference divided by its standard deviation.",
            "Las diferencias se emparejan por semilla y se prueban con la prueba t para datos emparejados; «sin "
            "cambio», con dos pruebas t unilaterales. Los valores p de todas las afirmaciones juntas se corrigen con "
            "el método de Holm; por debajo de 0.05 el veredicto es el lado en que queda la media; si no, no es "
            "concluyente, como siempre que hay una sola semilla. Tamaño del efecto: d_z, la diferencia media dividida "
            "por su desviación estándar.",
        ),
    ),
    (
        ("Expected and tolerance", "Esperado y tolerancia"),
        (
            "Each claim has its own tolerance; “Why?” beside the verdict says what it is and where it comes from.",
            "Cada afirmación tiene su tolerancia; «¿Por qué?», junto al veredicto, dice cuál es y de dónde sale.",
        ),
    ),
    (
        ("Shapes of curves", "Formas de las curvas"),
        (
            "Final level: the mean of the last 5 epochs. Volatility: standard deviation of the epoch-to-epoch "
            "differences about their own line. Roughness: root mean square of the second differences; smaller is "
            "smoother. Slope: of the least-squares line.",
            "Nivel final: la media de las últimas 5 épocas. Volatilidad: desviación estándar de las diferencias entre "
            "épocas respecto de su propia recta. Rugosidad: media cuadrática de las segundas diferencias; menor es "
            "más suave. Pendiente: la de la recta de mínimos cuadrados.",
        ),
    ),
    (
        ("Generalisation gap", "Brecha de generalización"),
        (
            "Training accuracy minus validation accuracy (of losses: validation minus training): positive where the "
            "model does better on what it was trained on.",
            "Precisión de entrenamiento menos la de validación (de pérdidas: validación menos entrenamiento): "
            "positiva donde el modelo anda mejor con lo que se entrenó.",
        ),
    ),
    (
        ("Main effect", "Efecto principal"),
        (
            "The mean at each level of a factor over all combinations of the others that were run with every level.",
            "La media en cada nivel de un factor sobre todas las combinaciones de los demás que se corrieron con cada "
            "nivel.",
        ),
    ),
)


def words(key: str, language: Language, **values: object) -> str:
    """The text `key` in a language, its fields filled with `values`."""
    return _TEXTS[key][LANGUAGES.index(language)].format(**values)


def definitions(language: Language) -> list[tuple[str, str]]:
    """The terms of the page, each with what it means."""
    place = LANGUAGES.index(language)
    return [(term[place], meaning[place]) for term, meaning in _DEFINITIONS]
