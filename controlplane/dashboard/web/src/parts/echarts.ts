// The parts of ECharts that the page uses; loaded when the first chart is drawn.
import { BarChart, LineChart } from "echarts/charts";
import { DataZoomInsideComponent, DataZoomSliderComponent, GridSimpleComponent, LegendPlainComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([LineChart, BarChart, GridSimpleComponent, TooltipComponent, LegendPlainComponent, DataZoomInsideComponent, DataZoomSliderComponent, CanvasRenderer]);

export { init };
